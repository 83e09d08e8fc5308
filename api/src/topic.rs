//! `Topic`: partitions, replicas, config, value schema with its compatibility.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A Kafka topic as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "tidemill.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    shortname = "kt",
    category = "tidemill",
    status = "TopicStatus",
    derive = "PartialEq",
    doc = "A Kafka topic as it should be.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the topic is as declared"}"#,
    printcolumn = r#"{"name": "Partitions", "type": "integer", "jsonPath": ".status.partitions", "description": "Partitions it has"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Why it is not ready"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = (
        "!has(oldSelf.partitions) || self.partitions >= oldSelf.partitions",
        "`partitions` can only grow: Kafka cannot take partitions away"
    ),
    validation = (
        "has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)",
        "`topicName` cannot change: create another Topic"
    ),
    validation = ("self.cluster == oldSelf.cluster", "`cluster` cannot change: create another Topic"),
)]
pub struct TopicSpec {
    /// The `KafkaCluster` that holds the topic: `name` or `namespace/name`.
    #[schemars(length(min = 1, max = 317))]
    pub cluster: String,
    /// The topic's name in Kafka; the resource's name where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub topic_name: Option<String>,
    /// How many partitions. They only grow.
    #[schemars(range(min = 1, max = 100_000))]
    pub partitions: i32,
    /// Copies of each partition; the brokers' default where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: Option<i32>,
    /// Topic configuration as Kafka names it, such as `retention.ms: "604800000"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// The schema of the records' values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_schema: Option<ValueSchema>,
    /// What becomes of the topic when this resource is deleted: `Retain` leaves it with its records,
    /// `Delete` deletes both.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The schema of the records' values, registered as `<topic>-value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueSchema {
    /// The schema's language.
    #[serde(rename = "type")]
    pub schema_type: SchemaType,
    /// The schema itself.
    #[schemars(length(min = 1, max = 262_144))]
    pub schema: String,
    /// Which changes of it are allowed.
    #[serde(default)]
    pub compatibility: Compatibility,
}

/// A schema language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchemaType {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

/// Which changes of a schema are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    /// New readers read old records.
    #[default]
    Backward,
    /// New readers read all old records.
    BackwardTransitive,
    /// Old readers read new records.
    Forward,
    /// All old readers read new records.
    ForwardTransitive,
    /// Both directions.
    Full,
    /// Both directions, over all versions.
    FullTransitive,
    /// Any change.
    None,
}

/// What becomes of the topic when the resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays, with its records.
    #[default]
    Retain,
    /// It is deleted, with its records.
    Delete,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicStatus {
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Partitions it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Topic {
    /// The topic's name in Kafka.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        self.spec.topic_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }
}
