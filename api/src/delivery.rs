//! Where a function's results and failures go, and how often it is tried.

use crate::Duration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the records of the function's answer go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Output {
    /// The topic of a record that names none.
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub topic: String,
    /// Topics that a record may name for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$")))]
    pub allowed_topics: Vec<String>,
    /// `atLeastOnce`: outputs are acknowledged before the input is committed. `exactlyOnce`: both are one
    /// Kafka transaction.
    #[serde(default)]
    pub delivery: Delivery,
    /// The `KafkaCluster` to write to: the trigger's where it is not set, `main` under a
    /// schedule trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub cluster: Option<String>,
}

/// Whether outputs and input offsets are one transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// Outputs are acknowledged before the input is committed; a failure in between repeats them.
    #[default]
    AtLeastOnce,
    /// Outputs and input offsets are one Kafka transaction.
    ExactlyOnce,
}

/// How often a failing batch is tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.maxAge) || duration(self.maxAge) > duration('0s')", "message": "`maxAge` must be above 0s: each record would be too old"}
]))]
pub struct Retry {
    /// Attempts in all, the first one counted.
    #[schemars(range(min = 1, max = 10_000))]
    pub attempts: u32,
    /// A record older than this, by its Kafka timestamp, counts as failed. Not set: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// Whether a batch that fails is split in halves until the guilty record stands alone.
    pub bisect: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, max_age: None, backoff: Backoff::default(), bisect: true }
    }
}

/// How long to wait between attempts: doubled each time, with jitter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "duration(self.initial) <= duration(self.max)", "message": "`initial` must not be longer than `max`"}
]))]
pub struct Backoff {
    /// Before the second attempt.
    pub initial: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(200), max: Duration::from_secs(30) }
    }
}

/// Where a record goes that failed for good: exactly one of `topic` and `s3`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.topic) != has(self.s3)", "set exactly one of `topic` and `s3`"))]
pub struct OnFailure {
    /// A topic of the trigger's cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub topic: Option<String>,
    /// A bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Destination>,
}

/// A bucket for failed records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Destination {
    /// The bucket's name.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// What each object's key begins with.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub prefix: String,
}
