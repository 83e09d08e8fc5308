//! The letters of a topic, counted. No I/O.

use super::letter::Letter;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// What letters without `error-type` are counted under.
const NO_TYPE: &str = "(none)";

/// The letters of a topic.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// The topic of dead letters.
    pub topic: String,
    /// How many there are.
    pub records: u64,
    /// When the first of them failed.
    #[serde(serialize_with = "rfc3339")]
    pub oldest: Option<DateTime<Utc>>,
    /// When the last of them failed.
    #[serde(serialize_with = "rfc3339")]
    pub newest: Option<DateTime<Utc>>,
    /// How many of each `error-type`.
    pub error_types: BTreeMap<String, u64>,
}

impl Tally {
    /// No letters.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), records: 0, oldest: None, newest: None, error_types: BTreeMap::new() }
    }

    /// One more.
    pub fn add(&mut self, letter: &Letter) {
        self.records += 1;
        if let Some(at) = letter.failed_at {
            self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
            self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
        }
        let kind = letter.error_type.as_deref().unwrap_or(NO_TYPE);
        *self.error_types.entry(kind.to_owned()).or_default() += 1;
    }

    /// The counts in words, the most frequent first.
    #[must_use]
    pub fn kinds(&self) -> String {
        let mut kinds: Vec<_> = self.error_types.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// A time as the runner writes it.
#[must_use]
pub fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn rfc3339<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(text).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::{Letter, Tally};
    use tidemill_runner::record::Record;

    #[test]
    fn letters_are_counted_by_type_between_the_first_and_the_last_failure() {
        let mut tally = Tally::new("dlq.raw");
        for (kind, time) in [
            (Some("Crash"), Some("2026-01-02T00:00:00.000Z")),
            (Some("Timeout"), Some("2026-01-01T00:00:00.500Z")),
            (Some("Timeout"), Some("2026-01-01T12:00:00+01:00")),
            (None, None),
        ] {
            let headers = [("error-type", kind), ("error-timestamp", time)];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Some(value?.into()))));
            tally.add(&Letter::new(Record { headers: headers.collect(), ..Record::default() }));
        }
        assert_eq!(tally.kinds(), "Timeout 2, (none) 1, Crash 1");
        let json = serde_json::to_value(&tally).expect("JSON");
        let expected = serde_json::json!({
            "topic": "dlq.raw", "records": 4, "errorTypes": {"(none)": 1, "Crash": 1, "Timeout": 2},
            "oldest": "2026-01-01T00:00:00.500Z", "newest": "2026-01-02T00:00:00.000Z",
        });
        assert_eq!(json, expected);
    }
}
