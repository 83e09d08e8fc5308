//! `tidemill dlq show`: dead letters with all that they have, and why they are there.

use super::{Cluster, Letters, filter::Filter, letter::Letter, offsets, partitions, progress, tally, topics};
use crate::output::Format;
use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, io::Write as _, num::NonZeroUsize, process::ExitCode};
use tidemill_kafka::topic_spans;
use tidemill_runner::dead_letter::headers_before;
use tokio::task::block_in_place;

/// Show dead letters: key, value, headers and the reason.
///
/// The newest are shown, the last of them at the end. Keys and values that are not text are shown
/// as base64.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidemill dlq show dlq.raw-articles --limit 5\n  tidemill dlq show dlq.raw-articles --error-type Timeout --since 2026-01-31T08:00:00Z\n  tidemill dlq show dlq.raw-articles --offset 0:15 --output json\n\nExit codes: 0 shown, also where no letter matches; 1 failed."
)]
pub struct Show {
    /// The topic of dead letters
    topic: String,
    /// The most letters that are shown: the newest
    #[arg(long, default_value = "20")]
    limit: NonZeroUsize,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    cluster: Cluster,
    /// How the letters are written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    value: Value,
    headers: Vec<Header>,
    reason: Reason,
}

/// Bytes under `key` as text, or under `keyBase64`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

#[derive(Serialize)]
struct Header {
    name: String,
    #[serde(flatten)]
    value: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason {
    error_type: Option<String>,
    error_message: Option<String>,
    error_timestamp: Option<String>,
    attempts: Option<u32>,
    original_topic: Option<String>,
    original_partition: Option<i32>,
    original_offset: Option<i64>,
}

impl Show {
    /// Reads the topic and prints the letters that match.
    ///
    /// # Errors
    /// When Kafka does not answer, or the topic is not there.
    pub fn run(self) -> Result<ExitCode> {
        let connection = self.cluster.connection()?;
        topics::known(&self.topic, &partitions(&connection)?, connection.bootstrap())?;
        let spans = self.filter.narrow(block_in_place(|| topic_spans(&connection, &self.topic))?);
        let bar = progress(offsets(&spans))?;
        let mut letters = Letters::open(&connection, &self.topic, &spans)?;
        let mut newest = BTreeMap::new();
        let mut matching = 0_usize;
        while let Some(letter) = letters.next()? {
            bar.inc(1);
            if self.filter.takes(&letter) {
                matching += 1;
                newest.insert((when(&letter), letter.place()), letter);
                if newest.len() > self.limit.get() {
                    newest.pop_first();
                }
            }
        }
        bar.finish_and_clear();
        let shown = newest.len();
        match self.output {
            Format::Table => {
                let texts: Vec<_> = newest.values().map(text).collect();
                std::io::stdout().write_all(texts.join("\n").as_bytes()).context("failed to write the letters")?;
            }
            structured => structured.print(&newest.into_values().map(Shown::from).collect::<Vec<_>>())?,
        }
        if matching == 0 {
            eprintln!("no letter matches: `tidemill dlq list {}` says what is there", self.topic);
        } else if matching > shown {
            eprintln!("{shown} of {matching} letters shown, the newest: --limit shows more");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// When it failed, in milliseconds; of a letter that does not say, when it was written.
fn when(letter: &Letter) -> i64 {
    letter.failed_at.map_or(letter.record.timestamp, |time| time.timestamp_millis())
}

impl From<Letter> for Shown {
    fn from(letter: Letter) -> Self {
        let (key, key_base64) = text_or_base64(letter.record.key.map(Vec::from));
        let header = |(name, value)| Header { name, value: Value::from(value) };
        Self {
            key: Key { key, key_base64 },
            value: letter.record.value.map(Vec::from).into(),
            headers: letter.record.headers.into_iter().map(header).collect(),
            reason: Reason {
                error_type: letter.error_type,
                error_message: letter.error_message,
                error_timestamp: letter.failed_at.map(tally::text),
                attempts: letter.attempts,
                original_topic: letter.original_topic,
                original_partition: letter.original_partition,
                original_offset: letter.original_offset,
            },
            topic: letter.record.topic.to_string(),
            partition: letter.record.partition,
            offset: letter.record.offset,
        }
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        let (value, value_base64) = text_or_base64(bytes);
        Self { value, value_base64 }
    }
}

fn text_or_base64(bytes: Option<Vec<u8>>) -> (Option<String>, Option<String>) {
    match bytes.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
    }
}

fn text(letter: &Letter) -> String {
    let mut text = letter.address();
    let at = letter.failed_at.or_else(|| DateTime::from_timestamp_millis(letter.record.timestamp));
    let attempts = letter.attempts.map(|attempts| match attempts {
        1 => "1 attempt".to_owned(),
        more => format!("{more} attempts"),
    });
    let head = [at.map(tally::text), letter.error_type.as_deref().map(printable), attempts];
    for word in head.into_iter().flatten() {
        text += &format!("  {word}");
    }
    text.push('\n');
    let mut line = |name: &str, value: &str| {
        // Lines of one value stand under one another.
        let value = value.replace('\n', "\n            ");
        writeln!(text, "  {name:<8}  {value}").expect("a text takes text");
    };
    if let Some(topic) = letter.original_topic.as_deref().map(printable) {
        let number = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (partition, offset) = (letter.original_partition.map(i64::from), letter.original_offset);
        line("from", &format!("{topic}-{}@{}", number(partition), number(offset)));
    }
    if let Some(message) = &letter.error_message {
        line("message", &printable(message));
    }
    line("key", &bytes(letter.record.key.as_deref()));
    for (name, value) in headers_before(letter.record.headers.clone()) {
        line("header", &format!("{}: {}", printable(&name), bytes(value.as_deref())));
    }
    line("value", &bytes(letter.record.value.as_deref()));
    text
}

fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "(none)".to_owned(),
        Some((_, Ok(text))) => printable(text),
        Some((bytes, Err(_))) => format!("base64: {}", STANDARD.encode(bytes)),
    }
}

/// Records come from anywhere: what would steer a terminal is written out.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && !matches!(letter, '\n' | '\t') {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{Letter, Shown, text};
    use serde_json::json;
    use tidemill_runner::record::Record;

    fn letter() -> Letter {
        let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        Letter::new(Record {
            topic: "dlq.raw".into(),
            partition: 1,
            offset: 15,
            key: Some(vec![0xff].into()),
            value: Some("two\nlines \u{1b}[2J".into()),
            headers: vec![
                ("none".to_owned(), None),
                header("original-topic", b"raw"),
                header("original-partition", b"2"),
                header("error-type", b"Timeout"),
                header("error-timestamp", b"2026-01-02T03:04:05.678Z"),
                header("attempts", b"3"),
            ],
            ..Record::default()
        })
    }

    #[test]
    fn people_see_the_reason_first_and_no_letter_steers_their_terminal() {
        let expected = "dlq.raw-1@15  2026-01-02T03:04:05.678Z  Timeout  3 attempts
  from      raw-2@?
  key       base64: /w==
  header    none: (none)
  value     two
            lines \\u{1b}[2J
";
        assert_eq!(text(&letter()), expected);
        let once = Letter { attempts: Some(1), ..letter() };
        assert!(text(&once).contains("  1 attempt\n"), "{}", text(&once));
    }

    #[test]
    fn programs_see_all_of_it() {
        let shown = serde_json::to_value(Shown::from(letter())).expect("JSON");
        assert_eq!((&shown["key"], &shown["keyBase64"]), (&json!(null), &json!("/w==")));
        assert_eq!(shown["value"], "two\nlines \u{1b}[2J");
        assert_eq!(shown["headers"][0], json!({"name": "none", "value": null}));
        assert_eq!(shown["headers"][3], json!({"name": "error-type", "value": "Timeout"}));
        let reason = json!({
            "errorType": "Timeout", "errorMessage": null, "errorTimestamp": "2026-01-02T03:04:05.678Z", "attempts": 3,
            "originalTopic": "raw", "originalPartition": 2, "originalOffset": null,
        });
        assert_eq!(shown["reason"], reason);
    }
}
