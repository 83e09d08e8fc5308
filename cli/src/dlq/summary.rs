//! What a replay did, counted; or what it would do.

use crate::output::Format;
use anyhow::Result;
use serde::Serialize;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

/// What a replay did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The topic of dead letters.
    pub topic: String,
    /// The group whose offsets remember what was done.
    pub group: String,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// Letters sent, or that would be.
    pub letters: u64,
    /// How many of them to each topic.
    pub to: BTreeMap<String, u64>,
    /// Letters that the filter does not take.
    pub passed_over: u64,
    /// Letters that could not be sent; they stay where they are.
    pub skipped: BTreeMap<String, Skipped>,
    /// Whether the topic has none at all.
    #[serde(skip)]
    is_empty: bool,
    /// Whether a letter is in the way.
    #[serde(skip)]
    pub ends_early: bool,
    /// Which letters would be sent where; only in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<Step>,
}

/// Letters that could not be sent, for one reason.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// How many.
    pub letters: u64,
    /// The first of them, as `--offset` takes it.
    pub first: String,
}

/// A letter on its way.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `topic-partition@offset` of the letter.
    pub from: String,
    /// The topic.
    pub to: String,
    /// The partition there; without one it follows from the key.
    pub partition: Option<i32>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)?;
        self.partition.map_or(Ok(()), |partition| write!(f, "-{partition}"))
    }
}

impl Summary {
    /// Nothing yet.
    #[must_use]
    pub fn new(topic: &str, group: &str, dry_run: bool, is_empty: bool) -> Self {
        Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
            dry_run,
            letters: 0,
            to: BTreeMap::new(),
            passed_over: 0,
            skipped: BTreeMap::new(),
            is_empty,
            ends_early: false,
            plan: Vec::new(),
        }
    }

    /// One was sent there.
    pub fn sent(&mut self, topic: &str) {
        self.letters += 1;
        match self.to.get_mut(topic) {
            Some(count) => *count += 1,
            None => drop(self.to.insert(topic.to_owned(), 1)),
        }
    }

    /// One could not be sent.
    pub fn skip(&mut self, reason: String, place: String) {
        match self.skipped.entry(reason) {
            Entry::Occupied(mut entry) => entry.get_mut().letters += 1,
            Entry::Vacant(entry) => drop(entry.insert(Skipped { letters: 1, first: place })),
        }
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// When it cannot be put into that form.
    pub fn print(&self, format: Format) -> Result<()> {
        if format != Format::Table {
            return format.print(self);
        }
        println!("{}", self.text());
        Ok(())
    }

    fn text(&self) -> String {
        let Self { topic, group, letters, .. } = self;
        let to: Vec<_> = self.to.iter().map(|(topic, count)| format!("{count} to {topic}")).collect();
        let to = if to.is_empty() { String::new() } else { format!(" ({})", to.join(", ")) };
        let verb = if self.dry_run { "would be replayed" } else { "replayed" };
        let noun = if *letters == 1 { "letter" } else { "letters" };
        let mut text = format!("{letters} {noun} of {topic} {verb}{to}");
        if self.passed_over > 0 {
            text += &format!(", {} do not match", self.passed_over);
        }
        if *letters + self.passed_over == 0 && self.skipped.is_empty() && !self.ends_early {
            text += &if self.is_empty {
                "; the topic is empty".to_owned()
            } else {
                format!("; group {group} has no letter before it: --from-start sends again what was sent")
            };
        }
        for (reason, Skipped { letters, first }) in &self.skipped {
            text += &format!(
                "\n{letters} skipped, still in {topic}: {reason} (the first: `tidemill dlq show {topic} --offset {first}`; `--to TOPIC --offset {first}` sends it)"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn what_was_done_is_said_with_what_is_left() {
        let empty = Summary::new("dlq.raw", "g", false, true);
        assert_eq!(empty.text(), "0 letters of dlq.raw replayed; the topic is empty");
        let mut summary = Summary::new("dlq.raw", "g", false, false);
        let nothing =
            "0 letters of dlq.raw replayed; group g has no letter before it: --from-start sends again what was sent";
        assert_eq!(summary.text(), nothing);
        for topic in ["raw", "raw", "ticks"] {
            summary.sent(topic);
        }
        summary.passed_over = 4;
        assert_eq!(summary.text(), "3 letters of dlq.raw replayed (2 to raw, 1 to ticks), 4 do not match");
        for place in ["0:7", "1:2"] {
            summary.skip("no original-topic".to_owned(), place.to_owned());
        }
        let text = summary.text();
        assert!(text.contains("\n2 skipped, still in dlq.raw: no original-topic"), "{text}");
        assert!(text.contains("--to TOPIC --offset 0:7") && !text.contains("1:2"), "{text}");
    }
}
