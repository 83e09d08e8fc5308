//! Tidemill's own policy: the tracker, as the operator asks it.

use super::{DRAIN_TARGET, MAX_REPLICAS, Policy, Seen, policy::Ticker};
use crate::{Look, Partition, Rules, Tracker, Work};
use std::time::Duration;
use tidemill_api::{Ordering, Scaling};

/// How often the operator looks at a group.
const LOOK: Duration = Duration::from_millis(300);

/// The tracker with `drainTarget` 10 s and the other settings as they are by default.
#[derive(Debug)]
pub struct Tidemill {
    tracker: Tracker,
    rules: Rules,
    looks: Ticker,
}

impl Tidemill {
    /// Its clock strikes first when the part `phase` of a period is over.
    #[must_use]
    pub fn new(phase: f64) -> Self {
        let scaling = Scaling {
            max: MAX_REPLICAS,
            drain_target: Some(tidemill_api::Duration::from_secs(DRAIN_TARGET.as_secs())),
            ..Scaling::default()
        };
        Self {
            tracker: Tracker::default(),
            rules: Rules { scaling, ordering: Ordering::Partition, concurrency: 1 },
            looks: Ticker::new(LOOK, phase),
        }
    }
}

impl Policy for Tidemill {
    fn name(&self) -> &'static str {
        "Tidemill"
    }

    fn wanted(&mut self, seen: &Seen) -> u32 {
        if !self.looks.strikes(seen.now) {
            return seen.asked;
        }
        let end = |end: &u64| i64::try_from(*end).unwrap_or(i64::MAX);
        let partitions = seen.lags.iter().zip(&seen.ends).map(|(lag, ends)| Partition { lag: *lag, end: end(ends) });
        let look = Look {
            at: seen.now,
            partitions: Some(partitions.collect()),
            replicas: seen.asked,
            ready: seen.ready,
            work: Work { answered: seen.answered, busy_seconds: seen.busy.as_secs_f64() },
        };
        self.tracker.observe(&look, &self.rules).replicas
    }
}
