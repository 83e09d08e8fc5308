//! The record that a failed record becomes: key, value and headers kept, the reason added. And the
//! way back: the headers as they were.

use crate::{
    failure::Failure,
    record::{HeaderList, OutRecord, Record},
};
use chrono::{SecondsFormat, Utc};

/// The topic of the failed record.
pub const ORIGINAL_TOPIC: &str = "original-topic";
/// The partition of the failed record.
pub const ORIGINAL_PARTITION: &str = "original-partition";
/// The offset of the failed record.
pub const ORIGINAL_OFFSET: &str = "original-offset";
/// Why it failed, in words.
pub const ERROR_MESSAGE: &str = "error-message";
/// Why it failed, in one word.
pub const ERROR_TYPE: &str = "error-type";
/// When it was given up, as RFC 3339.
pub const ERROR_TIMESTAMP: &str = "error-timestamp";
/// How often it was tried.
pub const ATTEMPTS: &str = "attempts";

/// A failed record on its way to `topic`.
#[must_use]
pub fn record(failed: Record, topic: String, failure: &Failure, attempts: u32) -> OutRecord {
    let added = reasons(&failed, failure, attempts);
    let mut headers = failed.headers;
    headers.extend(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    OutRecord { topic, partition: None, key: failed.key, value: failed.value, headers }
}

/// What is said of a failed record, by the names of the headers.
#[must_use]
pub fn reasons(failed: &Record, failure: &Failure, attempts: u32) -> [(&'static str, String); 7] {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    [
        (ORIGINAL_TOPIC, failed.topic.to_string()),
        (ORIGINAL_PARTITION, failed.partition.to_string()),
        (ORIGINAL_OFFSET, failed.offset.to_string()),
        (ERROR_MESSAGE, failure.message.clone()),
        (ERROR_TYPE, failure.kind.clone()),
        (ERROR_TIMESTAMP, now),
        (ATTEMPTS, attempts.to_string()),
    ]
}

/// What `record` has added is taken away: of each name the last header, since a failed record may
/// have had one of that name before.
#[must_use]
pub fn headers_before(mut headers: HeaderList) -> HeaderList {
    let added =
        [ORIGINAL_TOPIC, ORIGINAL_PARTITION, ORIGINAL_OFFSET, ERROR_MESSAGE, ERROR_TYPE, ERROR_TIMESTAMP, ATTEMPTS];
    for added in added {
        if let Some(index) = headers.iter().rposition(|(name, _)| name == added) {
            headers.remove(index);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::{headers_before, record};
    use crate::{failure::Failure, record::Record};

    fn check(names: &[&str]) {
        let headers: Vec<_> =
            names.iter().zip(0_u8..).map(|(name, value)| ((*name).to_owned(), Some(vec![value, 0xff]))).collect();
        let failed = Record { topic: "raw".into(), headers: headers.clone(), ..Record::default() };
        let failure = Failure::new("Crash", "gone");
        let letter = record(failed, "dlq.raw".to_owned(), &failure, 3);
        assert_eq!(letter.headers.len(), headers.len() + 7);
        assert_eq!(headers_before(letter.headers), headers);
    }

    #[test]
    fn a_letter_gives_back_the_headers_that_its_record_had() {
        check(&[]);
        check(&["trace", "trace", "empty"]);
        check(&["attempts", "trace", "error-type", "attempts"]);
    }
}
