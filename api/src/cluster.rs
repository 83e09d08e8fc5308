//! `KafkaCluster`: a connection to Kafka. Never a broker deployment.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A connection to Kafka: bootstrap servers, SASL, TLS, schema registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "tidemill.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    namespaced,
    shortname = "kc",
    category = "tidemill",
    status = "KafkaClusterStatus",
    derive = "PartialEq",
    doc = "A connection to Kafka: bootstrap servers, SASL, TLS, schema registry.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the brokers answer"}"#,
    printcolumn = r#"{"name": "Brokers", "type": "integer", "jsonPath": ".status.brokers", "description": "Brokers seen"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Why it is not ready"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[x_kube(validation = (
    "!has(self.sasl) || self.sasl.mechanism != 'PLAIN' || has(self.tls)",
    "`sasl.mechanism: PLAIN` needs `tls`: without it everybody on the way could read the password; add `tls: {}`, or use SCRAM-SHA-512"
))]
pub struct KafkaClusterSpec {
    /// `host:port` of some of the brokers.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 3, max = 300), regex(pattern = r"^[^\s,:/]+:[0-9]{1,5}$"))
    )]
    pub bootstrap_servers: Vec<String>,
    /// Other namespaces whose functions may use this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub allowed_namespaces: Vec<String>,
    /// How clients say who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// How connections are encrypted. Not set: plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// A Confluent-compatible schema registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<SchemaRegistry>,
}

/// How clients say who they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sasl {
    /// The mechanism that the brokers expect.
    pub mechanism: SaslMechanism,
    /// The user's name.
    #[schemars(length(min = 1, max = 255))]
    pub username: String,
    /// Where the password is.
    pub password: SecretKeyRef,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// User name and password as they are; only with `tls`.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted challenge and response with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge and response with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// How connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.certificate) == has(self.key)", "message": "set both of `certificate` and `key` (mutual TLS), or neither"}
]))]
pub struct Tls {
    /// The authorities that sign the brokers' certificates. Not set: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretKeyRef>,
    /// The client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SecretKeyRef>,
    /// The client's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretKeyRef>,
}

/// A Confluent-compatible schema registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("!self.url.contains('@')", "`url` must not carry a user: set `username` and `password`"))]
pub struct SchemaRegistry {
    /// Its base URL.
    #[schemars(length(min = 8, max = 512), regex(pattern = r"^https?://"))]
    pub url: String,
    /// User name for basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretKeyRef>,
}

/// One key of a secret in the cluster resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KafkaClusterStatus {
    /// `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Brokers seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers: Option<i32>,
    /// The generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
