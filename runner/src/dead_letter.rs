//! The record that a failed record becomes: key, value and headers kept, the reason added.

use crate::{
    answer::Failure,
    record::{OutRecord, Record},
};
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};

/// A failed record on its way to `topic`.
#[must_use]
pub fn record(failed: Record, topic: String, failure: &Failure, attempts: u32) -> OutRecord {
    let mut headers = failed.headers;
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    let added = [
        ("original-topic", failed.topic),
        ("original-partition", failed.partition.to_string()),
        ("original-offset", failed.offset.to_string()),
        ("error-message", failure.message.clone()),
        ("error-type", failure.kind.clone()),
        ("error-timestamp", now),
        ("attempts", attempts.to_string()),
    ];
    headers.extend(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    OutRecord { topic, key: failed.key.map(Bytes::from), value: failed.value.map(Bytes::from), headers }
}
