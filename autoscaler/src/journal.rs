//! What was seen and decided, kept so that it can be decided again: on paper, in a test, or with
//! other rules.
//!
//! The newest looks are kept, and the state that the tracker was in before the first of them.

use crate::{Decision, Look, Rules, Tracker};
use serde::{Deserialize, Serialize};

/// Looks in a segment. Two are kept: what is told goes back at least so far.
const SEGMENT: usize = 300;

/// One look and what was decided on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// What was seen.
    pub look: Look,
    /// How the function was scaled then.
    pub rules: Rules,
    /// What was decided.
    pub decision: Decision,
}

/// One line of a journal that was written down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// The past at this place.
    Tracker(Box<Tracker>),
    /// A look.
    Entry(Box<Entry>),
}

/// The last looks at a function.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    older: Option<Segment>,
    newer: Option<Segment>,
}

#[derive(Clone, Debug)]
struct Segment {
    before: Tracker,
    entries: Vec<Entry>,
}

impl Journal {
    /// Has the tracker decide, and keeps what it saw and said.
    pub fn observe(&mut self, tracker: &mut Tracker, look: Look, rules: &Rules) -> Decision {
        if self.newer.as_ref().is_some_and(|segment| segment.entries.len() >= SEGMENT) {
            self.older = self.newer.take();
        }
        let segment =
            self.newer.get_or_insert_with(|| Segment { before: tracker.clone(), entries: Vec::with_capacity(SEGMENT) });
        let decision = tracker.observe(&look, rules);
        segment.entries.push(Entry { look, rules: rules.clone(), decision: decision.clone() });
        decision
    }

    /// Says that looks will be missing before the next one.
    pub fn cut(&mut self) {
        if self.newer.is_some() {
            self.older = self.newer.take();
        }
    }

    /// All that is kept, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.older.iter().chain(&self.newer).flat_map(|segment| {
            let before = Line::Tracker(Box::new(segment.before.clone()));
            let entries = segment.entries.iter().map(|entry| Line::Entry(Box::new(entry.clone())));
            std::iter::once(before).chain(entries)
        })
    }
}

/// Decides again what a journal tells: each entry with what is decided on it now.
pub fn replay(lines: impl IntoIterator<Item = Line>) -> impl Iterator<Item = (Entry, Decision)> {
    let mut tracker = Tracker::default();
    lines.into_iter().filter_map(move |line| match line {
        Line::Tracker(before) => {
            tracker = *before;
            None
        }
        Line::Entry(entry) => {
            let decision = tracker.observe(&entry.look, &entry.rules);
            Some((*entry, decision))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Journal, Line, SEGMENT, replay};
    use crate::{Look, Partition, Rules, Tracker, Work};
    use std::time::Duration;
    use tidemill_api::{Ordering, Scaling};

    #[test]
    fn a_journal_decides_again_as_it_was_decided() {
        let (mut tracker, mut journal, mut replicas) = (Tracker::with_capacity(20.0), Journal::default(), 0);
        let gap = SEGMENT as u64 * 7 / 4;
        let rules = Rules { scaling: Scaling::default(), ordering: Ordering::Partition, concurrency: 1 };
        for turn in 0..SEGMENT as u64 * 5 / 2 {
            let lag = (turn * 7919) % 700;
            let end = i64::try_from(turn * 50).expect("small");
            let look = Look {
                at: Duration::from_millis(turn * 300),
                partitions: Some(vec![Partition { lag, end }; 4]),
                replicas,
                ready: replicas,
                work: Work { answered: turn * 40, busy_seconds: turn as f64 * 1.7 },
            };
            replicas = if turn == gap {
                journal.cut();
                tracker.observe(&look, &rules).replicas
            } else {
                journal.observe(&mut tracker, look, &rules).replicas
            };
        }
        let text: Vec<String> =
            journal.lines().map(|line| serde_json::to_string(&line).expect("a line is JSON")).collect();
        assert!((SEGMENT + 2..=2 * SEGMENT + 2).contains(&text.len()), "{} lines are kept", text.len());
        let lines = text.iter().map(|text| serde_json::from_str::<Line>(text).expect("it was written so"));
        let again: Vec<_> = replay(lines).collect();
        assert_eq!(again.len(), text.len() - 2);
        assert!(again.iter().any(|(entry, _)| entry.decision.replicas > 1), "something was decided");
        for (entry, decision) in again {
            assert_eq!(entry.decision, decision, "{entry:?}");
        }
    }
}
