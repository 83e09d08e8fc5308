//! The events a function gets, in the shapes AWS documents.
//!
//! Kafka: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>, with header bytes
//! signed as Lambda sends them.

use crate::record::Record;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::collections::BTreeMap;

/// Lambda's event for a batch of Kafka records.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KafkaEvent<'a> {
    event_source: &'static str,
    bootstrap_servers: &'a str,
    records: BTreeMap<String, Vec<RecordForm<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordForm<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    timestamp_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Base64<'a>>,
    headers: Vec<HeaderForm<'a>>,
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

/// A map of one key to the value's bytes as signed numbers.
struct HeaderForm<'a>(&'a str, &'a [u8]);

impl Serialize for HeaderForm<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let signed: Vec<i8> = self.1.iter().map(|byte| byte.cast_signed()).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &signed)?;
        map.end()
    }
}

/// The JSON of the event for `records`.
///
/// # Panics
/// Never: the event has no part that JSON cannot hold.
#[must_use]
pub fn kafka(records: &[Record], bootstrap_servers: &str) -> Vec<u8> {
    let mut by_partition: BTreeMap<String, Vec<RecordForm<'_>>> = BTreeMap::new();
    for record in records {
        by_partition.entry(record.topic_partition()).or_default().push(form(record));
    }
    let event = KafkaEvent { event_source: "SelfManagedKafka", bootstrap_servers, records: by_partition };
    serde_json::to_vec(&event).expect("the event is JSON")
}

fn form(record: &Record) -> RecordForm<'_> {
    RecordForm {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        timestamp_type: if record.log_append_time { "LOG_APPEND_TIME" } else { "CREATE_TIME" },
        key: record.key.as_deref().map(Base64),
        value: record.value.as_deref().map(Base64),
        headers: record.headers.iter().map(|(name, value)| HeaderForm(name, value.as_deref().unwrap_or(&[]))).collect(),
    }
}

/// `EventBridge`'s Scheduled Event.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct ScheduledEvent {
    /// Always `0`.
    pub version: String,
    /// The same for every delivery of one firing.
    pub id: String,
    /// Always `Scheduled Event`.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// Always `aws.events`.
    pub source: String,
    /// The account; zeros outside AWS.
    pub account: String,
    /// The time it was due, RFC 3339 in UTC.
    pub time: String,
    /// The region, as `AWS_REGION` says.
    pub region: String,
    /// ARNs of what fired: the function's name.
    pub resources: Vec<String>,
    /// Always an empty object.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

impl ScheduledEvent {
    /// The event of one firing of `function` (`namespace/name`) at `due`.
    ///
    /// The id is derived from both, so that a second delivery can be known as such.
    #[must_use]
    pub fn at(function: &str, due: chrono::DateTime<chrono::Utc>) -> Self {
        let time = due.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("tidemill:{function}:{time}").as_bytes());
        Self {
            version: "0".to_owned(),
            id: id.to_string(),
            detail_type: "Scheduled Event".to_owned(),
            source: "aws.events".to_owned(),
            account: "000000000000".to_owned(),
            time,
            region: std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned()),
            resources: vec![format!("arn:aws:events:us-east-1:000000000000:rule/{function}")],
            detail: serde_json::Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::kafka;
    use crate::record::Record;
    use serde_json::{Value, json};

    #[test]
    fn the_event_is_lambdas() {
        let record = Record {
            topic: "raw".to_owned(),
            partition: 2,
            offset: 15,
            timestamp: 1_545_084_650_987,
            log_append_time: false,
            key: Some(b"k".to_vec()),
            value: Some(b"Hello".to_vec()),
            headers: vec![("h".to_owned(), Some(vec![1, 0xff])), ("none".to_owned(), None)],
        };
        let tombstone = Record { topic: "raw".to_owned(), partition: 0, ..Record::default() };
        let event: Value = serde_json::from_slice(&kafka(&[record, tombstone], "b:9092")).expect("JSON");
        let expected = json!({
            "eventSource": "SelfManagedKafka",
            "bootstrapServers": "b:9092",
            "records": {
                "raw-0": [{"topic": "raw", "partition": 0, "offset": 0, "timestamp": 0, "timestampType": "CREATE_TIME", "headers": []}],
                "raw-2": [{
                    "topic": "raw", "partition": 2, "offset": 15, "timestamp": 1_545_084_650_987_i64,
                    "timestampType": "CREATE_TIME", "key": "aw==", "value": "SGVsbG8=",
                    "headers": [{"h": [1, -1]}, {"none": []}]
                }]
            }
        });
        assert_eq!(event, expected);
    }
}
