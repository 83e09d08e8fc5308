//! The record that a failed record becomes: key, value and headers kept, the reason added.

use crate::{
    answer::Failure,
    record::{OutRecord, Record},
};
use chrono::{SecondsFormat, Utc};

/// A failed record on its way to `topic`.
#[must_use]
pub fn record(failed: Record, topic: String, failure: &Failure, attempts: u32) -> OutRecord {
    let added = reasons(&failed, failure, attempts);
    let mut headers = failed.headers;
    headers.extend(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    OutRecord { topic, key: failed.key, value: failed.value, headers }
}

/// What is said of a failed record, by the names of the headers.
#[must_use]
pub fn reasons(failed: &Record, failure: &Failure, attempts: u32) -> [(&'static str, String); 7] {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    [
        ("original-topic", failed.topic.to_string()),
        ("original-partition", failed.partition.to_string()),
        ("original-offset", failed.offset.to_string()),
        ("error-message", failure.message.clone()),
        ("error-type", failure.kind.clone()),
        ("error-timestamp", now),
        ("attempts", attempts.to_string()),
    ]
}
