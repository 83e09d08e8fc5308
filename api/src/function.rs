//! `Function`: code, trigger, batch, retries, failure destination, output, scaling.

use crate::{Duration, OnFailure, Output, Retry, Scaling, Trigger};
use k8s_openapi::{
    api::core::v1::{
        Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration,
        TopologySpreadConstraint,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A function that runs on Kafka records or on a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "tidemill.dev",
    version = "v1alpha1",
    kind = "Function",
    namespaced,
    shortname = "fn",
    category = "tidemill",
    status = "FunctionStatus",
    derive = "PartialEq",
    doc = "A function that runs on Kafka records or on a schedule.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the function can take records"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas", "description": "Replicas running"}"#,
    printcolumn = r#"{"name": "Lag", "type": "integer", "jsonPath": ".status.lag", "description": "Records waiting"}"#,
    printcolumn = r#"{"name": "Rate", "type": "number", "jsonPath": ".status.arrivalRate", "description": "Records arriving a second"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.reason", "description": "Why this many replicas"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(
    validation = ("has(self.image) != has(self.__package__)", "set exactly one of `image` and `package`"),
    validation = (
        "!has(self.timeout) || (duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('3h'))",
        "`timeout` must be above 0s and at most 3h"
    ),
    validation = (
        "!has(self.output) || self.output.delivery != 'exactlyOnce' || has(self.trigger.kafka)",
        "`output.delivery: exactlyOnce` needs a kafka trigger: a schedule has no offsets to commit"
    ),
    validation = (
        "!has(self.output) || self.output.delivery != 'exactlyOnce' || !has(self.trigger.kafka) || !has(self.trigger.kafka.batch) || !has(self.trigger.kafka.batch.spanPartitions) || !self.trigger.kafka.batch.spanPartitions",
        "`batch.spanPartitions` does not go with `output.delivery: exactlyOnce`: each partition has a transaction of its own"
    ),
    validation = (
        "!has(self.onFailure) || !has(self.onFailure.topic) || !has(self.trigger.kafka) || !(self.onFailure.topic in self.trigger.kafka.topics)",
        "`onFailure.topic` must not be one of `trigger.kafka.topics`: a failing record would come back for ever"
    ),
)]
pub struct FunctionSpec {
    /// A Lambda container image. One of `image` and `package`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// A zip with an executable named `bootstrap`. One of `image` and `package`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// Passed to the function as `_HANDLER`.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub handler: String,
    /// How long one invocation may take before the process is killed and the attempt has failed.
    #[serde(default = "thirty_seconds")]
    pub timeout: Duration,
    /// Invocations in flight in one replica.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrency: u32,
    /// Environment variables of the function.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Environment variables from config maps and secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// CPU and memory of the function's container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The service account of the function's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Secrets to pull `image` with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Labels of nodes that may run the function's pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the function's pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Where the function's pods like to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How the function's pods are spread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The priority class of the function's pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// What starts the function.
    pub trigger: Trigger,
    /// Where the records of its answers go. Not set: answers carry no records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// How often a failing batch is tried.
    #[serde(default)]
    pub retry: Retry,
    /// Where a record goes that failed for good; the topic `dlq.<topic>` where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Between how many replicas, and by what, it is scaled.
    #[serde(default)]
    pub scaling: Scaling,
    /// Holds the replica count here, as set by `kubectl scale`, until the field is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: Option<i32>,
}

/// A zip with an executable named `bootstrap`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// The object that is the zip.
    pub s3: S3Object,
}

/// An object in S3, pinned by its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Object {
    /// The bucket's name.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// The object's key.
    #[schemars(length(min = 1, max = 1_024))]
    pub key: String,
    /// SHA-256 of the object, in lower-case hex.
    #[schemars(regex(pattern = r"^[a-f0-9]{64}$"))]
    pub sha256: String,
}

/// What the operator last saw and decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionStatus {
    /// `Accepted`, `Ready` and `Active`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Replicas running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Records waiting. Not set while it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Records arriving a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_rate: Option<f64>,
    /// Records a second that one replica can work off, as measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_per_replica: Option<f64>,
    /// Why this many replicas, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last firing of the schedule whose outcome is durable, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<String>,
    /// A firing that is due and whose outcome is not durable yet, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_schedule_time: Option<String>,
    /// The label selector of the function's pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn one() -> u32 {
    1
}
