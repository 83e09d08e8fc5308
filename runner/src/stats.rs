//! What the runner has done, counted once an outcome is durable.
//!
//! The same numbers go to `/metrics` and to whoever watches the report.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::watch;

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

/// Counts, and tells who watches.
#[derive(Debug)]
pub struct Stats(watch::Sender<Totals>);

impl Default for Stats {
    fn default() -> Self {
        Self(watch::Sender::new(Totals::default()))
    }
}

impl Stats {
    /// The totals as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Totals> {
        self.0.subscribe()
    }

    /// An invocation of `records` records took `busy`.
    pub fn invoked(&self, records: usize, busy: Duration, result: &'static str) {
        metrics::counter!("tidemill_runner_invocations_total", "result" => result).increment(1);
        metrics::histogram!("tidemill_runner_invocation_seconds").record(busy.as_secs_f64());
        self.0.send_modify(|totals| {
            totals.invocations += 1;
            totals.busy_seconds += busy.as_secs_f64();
            totals.answered += records as u64;
        });
    }

    /// Records were produced to output topics.
    pub fn produced(&self, records: usize) {
        self.count("out", records, |totals| &mut totals.out);
    }

    /// Records were left out on purpose.
    pub fn dropped(&self, records: usize) {
        self.count("dropped", records, |totals| &mut totals.dropped);
    }

    /// Records went to the failure destination.
    pub fn dead_lettered(&self, records: usize) {
        self.count("dead_lettered", records, |totals| &mut totals.dead_lettered);
    }

    /// The outcome of records is durable.
    pub fn settled(&self, records: usize) {
        self.count("in", records, |totals| &mut totals.r#in);
    }

    fn count(&self, outcome: &'static str, records: usize, field: fn(&mut Totals) -> &mut u64) {
        if records > 0 {
            metrics::counter!("tidemill_runner_records_total", "outcome" => outcome).increment(records as u64);
            self.0.send_modify(|totals| *field(totals) += records as u64);
        }
    }
}
