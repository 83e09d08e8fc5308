//! Which letters of a topic are meant. No I/O.

use super::letter::Letter;
use chrono::{DateTime, Utc};
use clap::Args;
use std::{fmt::Write, str::FromStr};
use tidemill_kafka::Spans;
use uuid::Uuid;

/// Which letters are meant: those of which all that is given is so.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only this `error-type`
    #[arg(long, value_name = "TYPE")]
    error_type: Option<String>,
    /// Only this key, the whole of it
    #[arg(long)]
    key: Option<String>,
    /// Only what came from this topic
    #[arg(long, value_name = "TOPIC")]
    original_topic: Option<String>,
    /// Only what failed then or later, such as 2026-01-31T08:00:00Z
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Only what failed before then
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Only the letter at this place of its topic; may be given several times
    #[arg(long = "offset", value_name = "PARTITION:OFFSET")]
    places: Vec<Place>,
}

/// A place in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Why a text is no place.
#[derive(Debug, thiserror::Error)]
#[error("expected PARTITION:OFFSET, such as 0:15")]
pub struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (partition, offset) = text.split_once(':').ok_or(NoPlace)?;
        let place =
            Self { partition: partition.parse().map_err(|_| NoPlace)?, offset: offset.parse().map_err(|_| NoPlace)? };
        if place.partition < 0 || place.offset < 0 { Err(NoPlace) } else { Ok(place) }
    }
}

impl Filter {
    /// Whether the letter is meant.
    #[must_use]
    pub fn takes(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        let place = Place { partition: letter.record.partition, offset: letter.record.offset };
        let key = self.key.as_ref().is_none_or(|key| letter.record.key.as_deref() == Some(key.as_bytes()));
        // A letter that does not say when it failed is in no stretch of time.
        let since = self.since.is_none_or(|since| letter.failed_at.is_some_and(|at| at >= since));
        let until = self.until.is_none_or(|until| letter.failed_at.is_some_and(|at| at < until));
        is(&self.error_type, letter.error_type.as_deref())
            && is(&self.original_topic, letter.original_topic.as_deref())
            && key
            && since
            && until
            && (self.places.is_empty() || self.places.contains(&place))
    }

    /// The spans without what need not be read to find the letters.
    #[must_use]
    pub fn narrow(&self, mut spans: Spans) -> Spans {
        if self.places.is_empty() {
            return spans;
        }
        spans.retain(|partition, span| {
            let offsets = || self.places.iter().filter(|place| place.partition == *partition).map(|place| place.offset);
            let (Some(first), Some(last)) = (offsets().min(), offsets().max()) else { return false };
            *span = span.start.max(first)..span.end.min(last.saturating_add(1));
            true
        });
        spans
    }

    /// The places that were asked for, where none of them is in the topic.
    #[must_use]
    pub fn beside(&self, spans: &Spans) -> &[Place] {
        let is_there = |place: &Place| spans.get(&place.partition).is_some_and(|span| span.contains(&place.offset));
        if self.places.iter().any(is_there) { &[] } else { &self.places }
    }

    /// A name for what is chosen here and sent to `to`: the same for the same choice, another for
    /// another; `None` for all letters, back to where they came from.
    #[must_use]
    pub fn name(&self, to: Option<&str>) -> Option<String> {
        let mut text = String::new();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // Lengths keep `a` and `b` apart from `ab`.
                write!(text, "{name}={}:{value};", value.len()).expect("a text takes text");
            }
        };
        add("error-type", self.error_type.clone());
        add("key", self.key.clone());
        add("original-topic", self.original_topic.clone());
        add("since", self.since.map(|time| time.to_rfc3339()));
        add("until", self.until.map(|time| time.to_rfc3339()));
        let mut places = self.places.clone();
        places.sort_unstable();
        places.dedup();
        for Place { partition, offset } in places {
            add("offset", Some(format!("{partition}:{offset}")));
        }
        add("to", to.map(str::to_owned));
        let digest = || Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).simple().to_string();
        (!text.is_empty()).then(|| digest()[..8].to_owned())
    }
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc()).map_err(|error| format!("{error}: expected a time such as 2026-01-31T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::{Filter, Place};
    use crate::dlq::letter::Letter;
    use clap::Parser;
    use std::collections::HashSet;
    use tidemill_kafka::Spans;
    use tidemill_runner::record::Record;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    fn filter(words: &str) -> Filter {
        Line::try_parse_from(std::iter::once("test").chain(words.split_whitespace())).expect("a filter").filter
    }

    fn letter() -> Letter {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        Letter::new(Record {
            partition: 1,
            offset: 15,
            key: Some("k1".into()),
            headers: vec![
                header("original-topic", "raw"),
                header("error-type", "Timeout"),
                header("error-timestamp", "2026-01-02T03:04:05.678Z"),
            ],
            ..Record::default()
        })
    }

    #[test]
    fn all_that_is_given_must_be_so() {
        let cases = [
            ("", true),
            ("--error-type Timeout", true),
            ("--error-type timeout", false),
            ("--key k1", true),
            ("--key k", false),
            ("--original-topic raw", true),
            ("--original-topic rawer", false),
            ("--since 2026-01-02T03:04:05.678Z", true),
            ("--since 2026-01-02T03:04:05.679Z", false),
            ("--since 2026-01-02T04:04:05+01:00", true),
            ("--until 2026-01-02T03:04:05.678Z", false),
            ("--until 2026-01-02T03:04:05.679Z", true),
            ("--offset 1:15", true),
            ("--offset 0:15", false),
            ("--offset 0:15 --offset 1:15", true),
            ("--error-type Timeout --key other", false),
            ("--error-type Timeout --key k1 --since 2026-01-01T00:00:00Z", true),
        ];
        for (words, expected) in cases {
            assert_eq!(filter(words).takes(&letter()), expected, "{words}");
        }
        let bare = Letter::new(Record::default());
        assert!(filter("").takes(&bare));
        for words in ["--error-type X", "--key X", "--original-topic X", "--since 2026-01-01T00:00:00Z"] {
            assert!(!filter(words).takes(&bare), "{words}");
        }
    }

    #[test]
    fn only_what_may_hold_the_places_is_read() {
        let spans: Spans = [(0, 5..20), (1, 0..10), (2, 3..4)].into();
        let check = |words: &str, expected: Spans| assert_eq!(filter(words).narrow(spans.clone()), expected, "{words}");
        check("--key k", spans.clone());
        check("--offset 0:7", [(0, 7..8)].into());
        check("--offset 0:9 --offset 0:7 --offset 1:2", [(0, 7..10), (1, 2..3)].into());
        check("--offset 0:1", [(0, std::ops::Range { start: 5, end: 2 })].into());
        check("--offset 9:1", Spans::new());
    }

    #[test]
    fn a_choice_has_one_name_and_another_choice_another() {
        assert_eq!(filter("").name(None), None);
        let choices = [
            "--error-type a",
            "--key a",
            "--original-topic a",
            "--error-type a --key a",
            "--since 2026-01-01T00:00:00Z",
            "--until 2026-01-01T00:00:00Z",
            "--offset 0:1",
            "--offset 0:1 --offset 0:2",
        ];
        let mut names: Vec<_> = choices.iter().map(|words| filter(words).name(None)).collect();
        names.extend(choices.iter().map(|words| filter(words).name(Some("a"))));
        names.push(filter("").name(Some("a")));
        assert!(names.iter().all(|name| name.as_ref().is_some_and(|name| name.len() == 8)), "{names:?}");
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        let same = [
            ("--offset 0:2 --offset 0:1 --offset 0:2", "--offset 0:1 --offset 0:2"),
            ("--since 2026-01-01T01:00:00+01:00", "--since 2026-01-01T00:00:00Z"),
        ];
        for (one, other) in same {
            assert_eq!(filter(one).name(None), filter(other).name(None), "{one}");
        }
    }

    #[test]
    fn a_place_is_two_numbers() {
        assert_eq!("0:15".parse::<Place>().ok(), Some(Place { partition: 0, offset: 15 }));
        for text in ["", "15", "0:", ":15", "-1:15", "0:-1", "0:1:2", "a:b"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
