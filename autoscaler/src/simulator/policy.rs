//! What a scaling policy is asked, and what it may know when it answers.

use std::time::Duration;

/// What a scaler outside the pods can measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Since the trace began.
    pub now: Duration,
    /// Records not committed yet, for each partition.
    pub lags: Vec<u64>,
    /// Records that ever arrived, for each partition.
    pub ends: Vec<u64>,
    /// Pods asked for.
    pub asked: u32,
    /// Pods that are members of the group.
    pub ready: u32,
    /// Records that all pods ever answered.
    pub answered: u64,
    /// How long all pods ever worked on them.
    pub busy: Duration,
}

impl Seen {
    /// Records not committed yet.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.lags.iter().sum()
    }
}

/// Decides how many replicas there should be.
pub trait Policy {
    /// As it is called in the results.
    fn name(&self) -> &'static str;

    /// Asked at each step; how often it really looks is its own affair, and in between it answers
    /// `seen.asked`.
    fn wanted(&mut self, seen: &Seen) -> u32;
}

/// A clock that strikes every `period`, first when the part `phase` of one is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticker {
    period: Duration,
    next: Duration,
}

impl Ticker {
    pub(super) fn new(period: Duration, phase: f64) -> Self {
        Self { period, next: period.mul_f64(phase) }
    }

    pub(super) fn strikes(&mut self, now: Duration) -> bool {
        let due = now >= self.next;
        while now >= self.next {
            self.next += self.period;
        }
        due
    }
}
