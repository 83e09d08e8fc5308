//! What is seen of a function at an instant: all that a decision is made of.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is seen of a function at an instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Look {
    /// Since an origin of the caller's choice; it never goes back.
    pub at: Duration,
    /// The partitions of the trigger's topics; `None` while nobody knows.
    pub partitions: Option<Vec<Partition>>,
    /// Replicas that were asked for.
    pub replicas: u32,
    /// Of these, those that take records.
    pub ready: u32,
    /// What all replicas there ever were have done.
    pub work: Work,
}

/// A partition as its group sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Records waiting.
    pub lag: u64,
    /// The offset after its last record: it grows by one for each record that arrives.
    pub end: i64,
}

/// Work that was done, counted from a beginning that does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// Records that functions answered for.
    pub answered: u64,
    /// Seconds in which they worked on them, over all invocations in flight.
    pub busy_seconds: f64,
}

impl Look {
    /// Records waiting on all partitions.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        Some(self.partitions.as_ref()?.iter().map(|partition| partition.lag).sum())
    }

    /// The sum of the partitions' ends.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        Some(self.partitions.as_ref()?.iter().map(|partition| partition.end).sum())
    }
}
