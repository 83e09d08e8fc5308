//! What the runner has done, counted once an outcome is durable.
//!
//! The same numbers go to `/metrics` and to whoever watches the report.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::watch;
use tracing::warn;

/// What a runner has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// Records (or schedule events) whose outcome is durable.
    pub r#in: u64,
    /// Records produced to output topics.
    pub out: u64,
    /// Records that the filter or the function left out on purpose.
    pub dropped: u64,
    /// Records that went to the failure destination.
    pub dead_lettered: u64,
    /// Invocations that were answered, failed ones included.
    pub invocations: u64,
    /// Seconds in which the function worked, over all its processes.
    pub busy_seconds: f64,
    /// Records that the function answered for in those seconds.
    pub answered: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.r#in += other.r#in;
        self.out += other.out;
        self.dropped += other.dropped;
        self.dead_lettered += other.dead_lettered;
        self.invocations += other.invocations;
        self.busy_seconds += other.busy_seconds;
        self.answered += other.answered;
    }
}

/// A partition that waits for a record which takes long, or fails again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// `topic-partition`.
    pub partition: String,
    /// The record's offset.
    pub offset: i64,
}

/// Counts, and tells who watches.
#[derive(Debug)]
pub struct Stats {
    totals: watch::Sender<Totals>,
    held: Mutex<BTreeMap<(String, i32), i64>>,
}

impl Default for Stats {
    fn default() -> Self {
        Self { totals: watch::Sender::new(Totals::default()), held: Mutex::default() }
    }
}

impl Stats {
    /// The totals as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Totals> {
        self.totals.subscribe()
    }

    /// A partition waits for the record at that offset, or for none.
    pub fn held(&self, topic: &str, partition: i32, offset: Option<i64>) {
        let mut all = self.held.lock();
        let place = (topic.to_owned(), partition);
        let before = match offset {
            Some(offset) => all.insert(place, offset),
            None => all.remove(&place),
        };
        if before != offset {
            if let Some(offset) = offset {
                warn!(
                    topic,
                    partition, offset, "the partition waits for this record, and reads no further than allowed"
                );
            }
            metrics::gauge!("tidemill_runner_partitions_held").set(all.len() as f64);
        }
    }

    /// The partitions that wait for a record.
    #[must_use]
    pub fn waiting(&self) -> Vec<Held> {
        let all = self.held.lock();
        all.iter()
            .map(|((topic, partition), offset)| Held { partition: format!("{topic}-{partition}"), offset: *offset })
            .collect()
    }

    /// An invocation of `records` records took `busy`.
    pub fn invoked(&self, records: usize, busy: Duration, result: &'static str) {
        metrics::counter!("tidemill_runner_invocations_total", "result" => result).increment(1);
        metrics::histogram!("tidemill_runner_invocation_seconds").record(busy.as_secs_f64());
        self.totals.send_modify(|totals| {
            totals.invocations += 1;
            totals.busy_seconds += busy.as_secs_f64();
            totals.answered += records as u64;
        });
    }
}

/// What is counted of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Their outcome is durable.
    Settled,
    /// They were produced to output topics.
    Produced,
    /// They were left out on purpose.
    Dropped,
    /// They went to the failure destination.
    DeadLettered,
}

/// Who counts.
pub trait Tally: Send + Sync {
    /// So many records more.
    fn count(&self, what: Counted, records: usize);
}

impl Tally for Stats {
    fn count(&self, what: Counted, records: usize) {
        if records == 0 {
            return;
        }
        let outcome = match what {
            Counted::Settled => "in",
            Counted::Produced => "out",
            Counted::Dropped => "dropped",
            Counted::DeadLettered => "dead_lettered",
        };
        metrics::counter!("tidemill_runner_records_total", "outcome" => outcome).increment(records as u64);
        self.totals.send_modify(|totals| *totals.of(what) += records as u64);
    }
}

impl Totals {
    fn of(&mut self, what: Counted) -> &mut u64 {
        match what {
            Counted::Settled => &mut self.r#in,
            Counted::Produced => &mut self.out,
            Counted::Dropped => &mut self.dropped,
            Counted::DeadLettered => &mut self.dead_lettered,
        }
    }
}
