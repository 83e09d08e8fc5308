//! A dead letter: what it says of itself, and the record it is sent back as. No I/O.

use super::filter::Place;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use tidemill_runner::{
    dead_letter::{self, ATTEMPTS, ERROR_MESSAGE, ERROR_TIMESTAMP, ERROR_TYPE, ORIGINAL_OFFSET, ORIGINAL_PARTITION},
    record::{OutRecord, Record},
};

/// The header that a replayed record has: where its letter is.
pub const REPLAYED_FROM: &str = "replayed-from";

/// A dead letter, with what its headers say; others than a runner may have written it, and then
/// any of it is absent.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The record as it is in the topic of dead letters.
    pub record: Record,
    /// Where it came from.
    pub original_topic: Option<String>,
    /// The partition there.
    pub original_partition: Option<i32>,
    /// The offset there.
    pub original_offset: Option<i64>,
    /// Why it failed, in one word.
    pub error_type: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was given up.
    pub failed_at: Option<DateTime<Utc>>,
    /// How often it was tried.
    pub attempts: Option<u32>,
}

impl Letter {
    /// Reads what the record says of itself.
    #[must_use]
    pub fn new(record: Record) -> Self {
        // The last of a name is the runner's; those before it are the failed record's own.
        let text = |wanted: &str| {
            let found = record.headers.iter().rfind(|(name, _)| name == wanted);
            found.and_then(|(_, value)| String::from_utf8(value.clone()?).ok())
        };
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        let time = |text: String| DateTime::parse_from_rfc3339(&text).ok();
        Self {
            original_topic: text(dead_letter::ORIGINAL_TOPIC).filter(|topic| !topic.is_empty()),
            original_partition: number(ORIGINAL_PARTITION).and_then(|number| number.try_into().ok()),
            original_offset: number(ORIGINAL_OFFSET),
            error_type: text(ERROR_TYPE),
            error_message: text(ERROR_MESSAGE),
            failed_at: text(ERROR_TIMESTAMP).and_then(time).map(|time| time.to_utc()),
            attempts: number(ATTEMPTS).and_then(|number| number.try_into().ok()),
            record,
        }
    }

    /// Its place in the topic of dead letters.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { partition: self.record.partition, offset: self.record.offset }
    }

    /// `topic-partition@offset`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}@{}", self.record.topic_partition(), self.record.offset)
    }

    /// The record as it was, on its way back or to `to`; `None` where nobody says to which topic.
    ///
    /// In its own topic it goes to its own partition, which `partitions` (of each topic) must have:
    /// programs that place records by their keys do not all count alike, and order by key ends
    /// where a key is in two partitions.
    #[must_use]
    pub fn replayed(self, to: Option<&str>, partitions: &BTreeMap<String, i32>) -> Option<OutRecord> {
        let address = self.address();
        let topic = to.or(self.original_topic.as_deref())?.to_owned();
        let is_home = self.original_topic.as_deref() == Some(topic.as_str());
        let has = |partition: &i32| (0..partitions.get(&topic).copied().unwrap_or_default()).contains(partition);
        let partition = self.original_partition.filter(has).filter(|_| is_home);
        let mut headers = dead_letter::headers_before(self.record.headers);
        // Of a letter that was replayed before, the letter at this address remembers it.
        headers.retain(|(name, _)| name != REPLAYED_FROM);
        headers.push((REPLAYED_FROM.to_owned(), Some(address.into_bytes())));
        Some(OutRecord { topic, partition, key: self.record.key, value: self.record.value, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::Letter;
    use std::collections::BTreeMap;
    use tidemill_runner::{
        dead_letter,
        failure::Failure,
        record::{HeaderList, Record},
    };

    fn header(name: &str, value: &[u8]) -> (String, Option<Vec<u8>>) {
        (name.to_owned(), Some(value.to_vec()))
    }

    /// A letter as a runner writes it, of a record with these headers.
    fn letter(headers: HeaderList) -> Letter {
        let failed = Record {
            topic: "raw".into(),
            partition: 2,
            offset: 7,
            key: Some("k".into()),
            value: Some(vec![0xff, 0].into()),
            headers,
            ..Record::default()
        };
        let failure = Failure::new("Crash", "gone");
        let out = dead_letter::record(failed, "dlq.raw".to_owned(), &failure, 3);
        Letter::new(Record {
            topic: out.topic.into(),
            partition: 1,
            offset: 15,
            key: out.key,
            value: out.value,
            headers: out.headers,
            ..Record::default()
        })
    }

    #[test]
    fn a_letter_says_what_a_runner_wrote_and_not_what_its_record_had() {
        let letter = letter(vec![header("error-type", b"own"), header("attempts", b"99")]);
        assert_eq!(letter.original_topic.as_deref(), Some("raw"));
        assert_eq!((letter.original_partition, letter.original_offset), (Some(2), Some(7)));
        assert_eq!((letter.error_type.as_deref(), letter.error_message.as_deref()), (Some("Crash"), Some("gone")));
        assert_eq!((letter.attempts, letter.failed_at.is_some()), (Some(3), true));
    }

    #[test]
    fn what_others_wrote_is_no_letter_but_is_read() {
        let strange = vec![
            header("original-topic", b""),
            header("original-partition", b"x"),
            header("error-type", &[0xff]),
            header("error-timestamp", b"yesterday"),
            ("attempts".to_owned(), None),
        ];
        let letter = Letter::new(Record { headers: strange, ..Record::default() });
        assert_eq!((letter.original_topic, letter.original_partition, letter.error_type), (None, None, None));
        assert_eq!((letter.failed_at, letter.attempts), (None, None));
    }

    #[test]
    fn the_record_goes_back_as_it_was() {
        let own = vec![header("trace", &[0xff]), header("attempts", b"99"), ("none".to_owned(), None)];
        let with = |mut headers: HeaderList| {
            headers.push(header("replayed-from", b"dlq.raw-1@15"));
            headers
        };
        let partitions: BTreeMap<String, i32> = [("raw".to_owned(), 3), ("small".to_owned(), 2)].into();
        // Headers before → to → topic, partition, headers after.
        let mut again = own.clone();
        again.push(header("replayed-from", b"dlq.raw-0@1"));
        let cases = [
            (own.clone(), None, ("raw", Some(2))),
            (own.clone(), Some("raw"), ("raw", Some(2))),
            (own.clone(), Some("small"), ("small", None)),
            (again, None, ("raw", Some(2))),
        ];
        for (before, to, (topic, partition)) in cases {
            let out = letter(before).replayed(to, &partitions).expect("it has a topic");
            assert_eq!((out.topic.as_str(), out.partition), (topic, partition));
            assert_eq!((out.key.as_deref(), out.value.as_deref()), (Some(&b"k"[..]), Some(&[0xff, 0][..])));
            assert_eq!(out.headers, with(own.clone()));
        }
        let shrunk = [("raw".to_owned(), 2)].into();
        assert_eq!(letter(Vec::new()).replayed(None, &shrunk).and_then(|out| out.partition), None);
        assert_eq!(Letter::new(Record::default()).replayed(None, &partitions), None);
    }
}
