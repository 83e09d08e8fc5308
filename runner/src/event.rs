//! The events a function gets, in the shapes AWS documents.
//!
//! Kafka: <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>, with header bytes
//! signed as Lambda sends them.

use crate::{
    decode::{Decoded, Json},
    entry::Entry,
    record::Raw,
};
use base64_simd::STANDARD;
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes of JSON around a record's base64, beside its topic.
const AROUND: usize = 160;
/// Bytes that say which schema a part of it had.
const METADATA: usize = 80;

/// Bytes that the event for these records has, and hardly fewer.
#[must_use]
pub fn size(entries: &[Entry]) -> usize {
    let one = |entry: &Entry| {
        if !entry.has_more() {
            return usize::try_from(entry.size()).unwrap_or(usize::MAX) / 3 * 4 + entry.topic().len() + AROUND;
        }
        let Raw { key, value, headers, .. } = entry.seen();
        let [key, value] = [key, value].map(|bytes| bytes.map_or(0, <[u8]>::len));
        // Of a header's value each byte is a number of up to four characters, and a comma.
        let headers = headers.iter().map(|(name, value)| name.len() + 5 * value.as_ref().map_or(0, Vec::len) + 8);
        let decoded = entry.decoded().map_or(0, |by| [&by.key, &by.value].into_iter().flatten().count());
        (key + value) / 3 * 4 + headers.sum::<usize>() + entry.topic().len() + AROUND + decoded * METADATA
    };
    entries.iter().map(one).sum::<usize>() + 256
}

/// The JSON of the event for these records.
///
/// It is written by hand: at hundreds of thousands of records a second a general serializer, which
/// has base64 allocated as a string first, takes longer than all else the runner does with them.
#[must_use]
pub fn kafka(entries: &[Entry], bootstrap_servers: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(entries));
    out.extend_from_slice(br#"{"eventSource":"SelfManagedKafka","bootstrapServers":"#);
    text(&mut out, bootstrap_servers);
    out.extend_from_slice(br#","records":{"#);
    // Mostly all are of one: then nothing is looked for.
    let mut partitions: BTreeMap<(&str, i32), Vec<&[Entry]>> = BTreeMap::new();
    for run in entries.chunk_by(Entry::shares_partition) {
        partitions.entry((run[0].topic(), run[0].partition())).or_default().push(run);
    }
    for (place, ((topic, partition), runs)) in partitions.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        text(&mut out, &format!("{topic}-{partition}"));
        out.extend_from_slice(b":[");
        // What all of them begin with is made once.
        let mut start = br#"{"topic":"#.to_vec();
        text(&mut start, topic);
        start.extend_from_slice(format!(r#","partition":{partition},"offset":"#).as_bytes());
        for (place, entry) in runs.into_iter().flatten().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&start);
            write(&mut out, entry.seen(), entry.decoded());
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}}");
    out
}

/// All of a record from its offset on, and which schemas have made it what it is.
fn write(out: &mut Vec<u8>, record: Raw<'_>, by: Option<&Decoded>) {
    number(out, record.offset);
    out.extend_from_slice(br#","timestamp":"#);
    number(out, record.timestamp);
    let kind: &[u8] = if record.log_append_time {
        br#","timestampType":"LOG_APPEND_TIME""#
    } else {
        br#","timestampType":"CREATE_TIME""#
    };
    out.extend_from_slice(kind);
    part(out, br#","key"#, record.key, by.and_then(|by| by.key.as_ref()));
    part(out, br#","value"#, record.value, by.and_then(|by| by.value.as_ref()));
    out.extend_from_slice(br#","headers":["#);
    for (place, (name, value)) in record.headers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        // A map of one key to the value's bytes as signed numbers.
        out.push(b'{');
        text(out, name);
        out.extend_from_slice(b":[");
        for (place, byte) in value.iter().flatten().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            number(out, i64::from(byte.cast_signed()));
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(b"]}");
}

/// A key or a value, and the schema that made JSON of it. Its name comes with what is before it.
fn part(out: &mut Vec<u8>, name: &[u8], bytes: Option<&[u8]>, by: Option<&Json>) {
    let Some(bytes) = bytes else { return };
    out.extend_from_slice(name);
    out.extend_from_slice(br#"":""#);
    STANDARD.encode_append(bytes, out);
    out.push(b'"');
    if let Some(Json { format, schema_id, .. }) = by {
        out.extend_from_slice(name);
        let metadata = format!(r#"SchemaMetadata":{{"dataFormat":"{format}","schemaId":"{schema_id}"}}"#);
        out.extend_from_slice(metadata.as_bytes());
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON, and memory takes it");
}

fn number(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
    use super::{kafka, size};
    use crate::{
        decode::{Decoded, Json},
        entry::Entry,
        record::Record,
    };
    use serde_json::{Value, json};
    use tidemill_schemas::Format;

    #[test]
    fn the_event_is_lambdas() {
        let record = Record {
            topic: "raw".into(),
            partition: 2,
            offset: 15,
            timestamp: 1_545_084_650_987,
            log_append_time: false,
            key: Some("k".into()),
            value: Some("Hello".into()),
            headers: vec![("h".to_owned(), Some(vec![1, 0xff])), ("none".to_owned(), None)],
        };
        let raw = Record {
            topic: "raw".into(),
            partition: 1,
            key: Some("k".into()),
            value: Some("\0\0\0\0\x0c".into()),
            ..Record::default()
        };
        let json = Json { text: "{}".into(), format: Format::Avro, schema_id: 12 };
        let mut decoded = Entry::from(raw.clone());
        decoded.decode(Decoded { key: None, value: Some(json) });
        assert_eq!(decoded.record(), raw, "what it was is not forgotten");
        let tombstone = Record { topic: "raw".into(), partition: 0, ..Record::default() };
        // Others of its partition are not beside it.
        let second = Record { offset: 1, ..tombstone.clone() };
        let entries = [tombstone.into(), record.into(), second.into(), decoded];
        let expected = json!({
            "eventSource": "SelfManagedKafka",
            "bootstrapServers": "b:9092",
            "records": {
                "raw-0": [
                    {"topic": "raw", "partition": 0, "offset": 0, "timestamp": 0, "timestampType": "CREATE_TIME", "headers": []},
                    {"topic": "raw", "partition": 0, "offset": 1, "timestamp": 0, "timestampType": "CREATE_TIME", "headers": []}
                ],
                "raw-1": [{
                    "topic": "raw", "partition": 1, "offset": 0, "timestamp": 0, "timestampType": "CREATE_TIME",
                    "key": "aw==", "value": "e30=",
                    "valueSchemaMetadata": {"dataFormat": "AVRO", "schemaId": "12"}, "headers": []
                }],
                "raw-2": [{
                    "topic": "raw", "partition": 2, "offset": 15, "timestamp": 1_545_084_650_987_i64,
                    "timestampType": "CREATE_TIME", "key": "aw==", "value": "SGVsbG8=",
                    "headers": [{"h": [1, -1]}, {"none": []}]
                }]
            }
        });
        let event = kafka(&entries, "b:9092");
        let (bytes, about) = (event.len(), size(&entries));
        assert!(bytes <= about && about < 2 * bytes, "{bytes} bytes, estimated as {about}");
        let event: Value = serde_json::from_slice(&event).expect("JSON");
        assert_eq!(event, expected);
    }

    #[test]
    fn an_event_of_decoded_records_is_as_large_as_was_estimated() {
        let json = || Some(Json { text: "{}".into(), format: Format::Protobuf, schema_id: u32::MAX });
        let mut entry = Entry::from(Record {
            topic: "raw".into(),
            partition: i32::MAX,
            offset: i64::MAX,
            timestamp: i64::MAX,
            log_append_time: true,
            key: Some("k".into()),
            value: Some("v".into()),
            ..Record::default()
        });
        entry.decode(Decoded { key: json(), value: json() });
        let entries = vec![entry; 100];
        let (bytes, about) = (kafka(&entries, "b:9092").len(), size(&entries));
        assert!(bytes <= about && about < 2 * bytes, "{bytes} bytes, estimated as {about}");
    }
}
