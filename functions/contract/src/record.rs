//! The records of Lambda's self-managed Kafka event, in order and decoded one by one: what is
//! wrong with one record is a [`Failure`] of that record alone.

use aws_lambda_events::kafka::{KafkaEvent, KafkaRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::answer::{Failure, ItemIdentifier};

/// One record of an event, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    partition_key: &'a str,
    record: &'a KafkaRecord,
}

/// The event's records: partitions by name, each in the order of its offsets.
pub fn records(event: &KafkaEvent) -> Vec<Record<'_>> {
    let mut partitions: Vec<_> = event.records.iter().collect();
    partitions.sort_by_key(|(key, _)| key.as_str());
    partitions
        .into_iter()
        .flat_map(|(key, records)| records.iter().map(|record| Record { partition_key: key, record }))
        .collect()
}

impl<'a> Record<'a> {
    /// How answers name this record.
    pub fn item(&self) -> ItemIdentifier {
        ItemIdentifier { partition: self.partition_key.to_owned(), offset: self.record.offset }
    }

    /// `<topic>-<partition>@<offset>`: the record's place, as one word.
    pub fn position(&self) -> String {
        format!("{}@{}", self.partition_key, self.record.offset)
    }

    /// The record's topic.
    pub fn topic(&self) -> &'a str {
        match &self.record.topic {
            Some(topic) => topic,
            None => self.partition_key.rsplit_once('-').map_or(self.partition_key, |(t, _)| t),
        }
    }

    /// The record's partition.
    pub fn partition(&self) -> i64 {
        self.record.partition
    }

    /// `<topic>-<partition>`, as the event names it.
    pub fn topic_partition(&self) -> &'a str {
        self.partition_key
    }

    /// The record's offset.
    pub fn offset(&self) -> i64 {
        self.record.offset
    }

    /// Kafka's timestamp.
    pub fn time(&self) -> DateTime<Utc> {
        self.record.timestamp.0
    }

    /// The value's bytes.
    ///
    /// # Errors
    /// A null or empty value, or one that is not base64.
    pub fn value(&self) -> Result<Vec<u8>, Failure> {
        let malformed = |message: String| Failure::new("MalformedEvent", message);
        let encoded = self
            .record
            .value
            .as_deref()
            .ok_or_else(|| malformed("the value is null; a JSON object was expected".into()))?;
        let value = STANDARD.decode(encoded).map_err(|error| malformed(format!("the value is not base64: {error}")))?;
        if value.is_empty() {
            return Err(malformed("the value is empty; a JSON object was expected".into()));
        }
        Ok(value)
    }

    /// The value as a JSON event.
    ///
    /// # Errors
    /// As [`Record::value`], and values that are not JSON of this shape, naming the field.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let value = self.value()?;
        let mut json = serde_json::Deserializer::from_slice(&value);
        let decoded = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| error.to_string())
            .and_then(|decoded| json.end().map(|()| decoded).map_err(|error| error.to_string()));
        decoded.map_err(|error| {
            let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or("event");
            Failure::new("MalformedEvent", format!("the value is not a JSON {name}: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::PriceTickEvent;

    fn event(values: &[Option<&str>]) -> KafkaEvent {
        let records: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(offset, value)| {
                serde_json::json!({"topic": "price-ticks", "partition": 2, "offset": offset,
                    "timestamp": 1_700_000_000_000_i64, "timestampType": "CREATE_TIME",
                    "value": value.map(|value| STANDARD.encode(value)),
                    "headers": [{"h": [-1, 7]}]})
            })
            .collect();
        serde_json::from_value(serde_json::json!({"records": {"price-ticks-2": records}})).expect("a Kafka event")
    }

    #[test]
    fn one_bad_record_fails_alone() {
        let tick = r#"{"symbol":"BTCUSDT","price":"1.10","quantity":"2","timestamp":"2026-01-01T00:00:00Z","exchange":"x","tradeId":7}"#;
        let event = event(&[
            Some(tick),
            None,
            Some(""),
            Some("{"),
            Some(r#"{"symbol":"BTCUSDT"}"#),
            Some(&tick.replace("\"1.10\"", "\"dear\"")),
        ]);
        let results: Vec<_> = records(&event).iter().map(|record| record.decode::<PriceTickEvent>()).collect();
        assert_eq!(results[0].as_ref().map(|tick| tick.price.to_string()), Ok("1.10".into()));
        let expected = ["null", "empty", "EOF", "missing field `price`", "price: invalid value"];
        for (result, expected) in results[1..].iter().zip(expected) {
            let failure = result.as_ref().expect_err(expected);
            assert_eq!(failure.kind, "MalformedEvent");
            assert!(failure.message.contains(expected), "{} / {expected}", failure.message);
        }
    }

    #[test]
    fn positions_name_topic_partition_and_offset() {
        let event = event(&[Some("{}"), Some("{}")]);
        let records = records(&event);
        assert_eq!(records[1].position(), "price-ticks-2@1");
        assert_eq!((records[1].topic(), records[1].partition()), ("price-ticks", 2));
    }
}
