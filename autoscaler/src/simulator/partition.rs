//! A partition: records in the order of their arrival, kept as counts for each step so that a
//! backlog of millions stays small.

use std::{collections::VecDeque, time::Duration};

/// A partition of the topic, and who consumes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    queue: VecDeque<(Duration, u64)>,
    waiting: u64,
    end: u64,
    /// The pod that it is assigned to.
    pub(super) owner: Option<u64>,
    /// It changes hands until then.
    pub(super) still_until: Duration,
}

impl Partition {
    pub(super) fn arrive(&mut self, now: Duration, records: u64) {
        if records > 0 {
            self.queue.push_back((now, records));
            self.waiting += records;
            self.end += records;
        }
    }

    /// Takes away the oldest records, at most so many, and says how many there were.
    pub(super) fn take(&mut self, at_most: u64) -> u64 {
        let taken = at_most.min(self.waiting);
        let mut left = taken;
        while left > 0
            && let Some((_, records)) = self.queue.front_mut()
        {
            let part = left.min(*records);
            *records -= part;
            left -= part;
            if *records == 0 {
                self.queue.pop_front();
            }
        }
        self.waiting -= taken;
        taken
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How long the oldest record has waited.
    pub(super) fn oldest(&self, now: Duration) -> Duration {
        self.queue.front().map_or(Duration::ZERO, |(arrived, _)| now.saturating_sub(*arrived))
    }
}
