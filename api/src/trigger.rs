//! What starts a function: records of Kafka topics, or a schedule.

use crate::{ByteSize, Duration};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// What starts the function: exactly one of `kafka` and `schedule`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.kafka) != has(self.schedule)", "set exactly one of `kafka` and `schedule`"))]
pub struct Trigger {
    /// Records of Kafka topics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaTrigger>,
    /// A clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleTrigger>,
}

/// Records of Kafka topics, read as one consumer group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaTrigger {
    /// The `KafkaCluster` to read from: `name`, or `namespace/name` where that cluster lists
    /// this namespace in `allowedNamespaces`.
    #[schemars(length(min = 1, max = 317))]
    pub cluster: String,
    /// The topics to read. Patterns are not accepted: name each topic.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$")))]
    pub topics: Vec<String>,
    /// The consumer group; `<namespace>.<name>` where it is not set.
    #[schemars(length(min = 1, max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where a group without a committed offset begins: `earliest`, `latest` or
    /// `{timestamp: 2026-01-01T00:00:00Z}`.
    #[serde(default)]
    pub start: Start,
    /// How many records one invocation gets.
    #[serde(default)]
    pub batch: Batch,
    /// Which records wait for each other: those of a `partition`, those of one `key`, or `none`.
    #[serde(default)]
    pub ordering: Ordering,
    /// Which parts of a record are decoded to JSON, where the cluster has a `schemaRegistry`: those
    /// in Confluent's wire format, keys only where the registry knows `<topic>-key`. An empty list
    /// gives the function the bytes as they are.
    #[serde(default = "both_parts")]
    #[schemars(length(max = 2))]
    pub decode: Vec<RecordPart>,
    /// `EventBridge` patterns over `value`, `key` and `headers`; a record that matches none is
    /// committed without an invocation. No patterns: every record matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "patterns")]
    pub filter: Vec<serde_json::Value>,
}

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordPart {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

fn both_parts() -> Vec<RecordPart> {
    vec![RecordPart::Key, RecordPart::Value]
}

/// Where a group without a committed offset begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that is kept.
    #[default]
    Earliest,
    /// With the next record.
    Latest,
    /// With the first record at or after this time (RFC 3339).
    Timestamp(String),
}

/// How many records one invocation gets: it is made when the first of the limits is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.window) || duration(self.window) <= duration('5m')", "message": "`window` must be at most 5m"},
    {"rule": "!has(self.maxBytes) || !self.maxBytes.matches('^0+([KMG]i)?B?$')", "message": "`maxBytes` must be above 0: no record would fit"}
]))]
pub struct Batch {
    /// At most so many records.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_records: u32,
    /// At most so long after the first record arrived; `0s` takes what is there.
    pub window: Duration,
    /// At most so many bytes of keys, values and headers. A record above it goes to the
    /// failure destination.
    pub max_bytes: ByteSize,
    /// Whether records of several partitions (and topics) that one pod has may be in one event: fewer
    /// invocations where many partitions have few records. The limits are for all of them together.
    pub span_partitions: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_records: 100,
            window: Duration::from_millis(500),
            max_bytes: ByteSize::from_mib(6),
            span_partitions: false,
        }
    }
}

/// Which records wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// Records of a partition in their order.
    #[default]
    Partition,
    /// Records of one key in their order, different keys side by side.
    Key,
    /// No record waits for another.
    None,
}

/// A clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleTrigger {
    /// Five fields (minute, hour, day of month, month, day of week), as in crontab.
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
    /// The IANA time zone in which `cron` is read.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn patterns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 20,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Earliest => serializer.serialize_str("earliest"),
            Self::Latest => serializer.serialize_str("latest"),
            Self::Timestamp(timestamp) => {
                std::collections::BTreeMap::from([("timestamp", timestamp)]).serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Nothing is refused here: the API server takes forms that its schema cannot tell apart, and
        // one resource that cannot be read would hide all others from a watch. What is no time is
        // refused by the rules.
        let form = Value::deserialize(deserializer)?;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(match (form.as_str(), form.get("timestamp")) {
            (Some("earliest"), _) => Self::Earliest,
            (Some("latest"), _) => Self::Latest,
            (_, Some(timestamp)) => Self::Timestamp(text(timestamp)),
            _ => Self::Timestamp(text(&form)),
        })
    }
}

impl JsonSchema for Start {
    fn schema_name() -> Cow<'static, str> {
        "Start".into()
    }

    // A structural schema has no union of a string and an object. `pattern` binds strings only
    // and `required` objects only, so that together they say both forms.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-preserve-unknown-fields": true,
            "pattern": "^(earliest|latest)$",
            "required": ["timestamp"]
        })
    }
}
