//! What a decision needs to know of the past: the arrival rate, the capacity of a replica as it
//! was last measured, and since when fewer replicas would have been enough.

use crate::{Decision, Observation, decide};
use std::time::{Duration, Instant};
use tidemill_api::{Ordering, Scaling};

/// The span over which arrivals are averaged, in seconds.
const RATE_SPAN: f64 = 5.0;
/// Seconds of work after which a replica's capacity counts as measured.
const MEASURED: f64 = 0.05;

/// One look at a function's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Records waiting.
    pub lag: u64,
    /// The sum of the ends of its partitions: it grows by one for each record that arrives.
    pub ends: i64,
    /// How many partitions its topics have.
    pub partitions: u32,
}

/// A function's past, as far as scaling needs it.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    rate: f64,
    capacity: Option<f64>,
    partitions: Option<u32>,
    last: Option<(Instant, i64)>,
    quiet_since: Option<Instant>,
}

impl Tracker {
    /// Records arriving a second (λ).
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Records a second that one replica works off (μ), once it was measured.
    #[must_use]
    pub fn capacity(&self) -> Option<f64> {
        self.capacity
    }

    /// Takes in what the replicas have done: `answered` records in `busy_seconds` of work, each
    /// with `concurrency` invocations at once.
    pub fn measured(&mut self, answered: u64, busy_seconds: f64, concurrency: u32) {
        if busy_seconds > MEASURED && answered > 0 {
            self.capacity = Some(answered as f64 / busy_seconds * f64::from(concurrency));
        }
    }

    /// Takes in a look at the group (`None`: it is unknown) and decides.
    pub fn observe(
        &mut self,
        now: Instant,
        sample: Option<Sample>,
        replicas: u32,
        scaling: &Scaling,
        ordering: Ordering,
    ) -> Decision {
        let mut arrived = false;
        if let Some(Sample { ends, partitions, .. }) = sample {
            self.partitions = Some(partitions);
            if let Some((before, last)) = self.last {
                arrived = ends > last;
                let seconds = now.duration_since(before).as_secs_f64().max(0.001);
                let rate = (ends - last).max(0) as f64 / seconds;
                let weight = 1.0 - (-seconds / RATE_SPAN).exp();
                self.rate += (rate - self.rate) * weight;
            }
            self.last = Some((now, ends));
        }
        let observation = Observation {
            lag: sample.map(|sample| sample.lag),
            arrival_rate: self.rate,
            arrived,
            capacity_per_replica: self.capacity,
            partitions: self.partitions.unwrap_or(1),
            replicas,
            quiet: self.quiet_since.map_or(Duration::ZERO, |since| now.duration_since(since)),
        };
        let decision = decide(&observation, scaling, ordering);
        if decision.needed < replicas {
            self.quiet_since.get_or_insert(now);
        } else {
            self.quiet_since = None;
        }
        decision
    }

    /// Whether nobody has wanted a replica for as long as `cooldown`; `wanted` says whether
    /// somebody does now. For functions that are not started by lag.
    pub fn rested(&mut self, now: Instant, wanted: bool, cooldown: Duration) -> bool {
        if wanted {
            self.quiet_since = None;
            return false;
        }
        now.duration_since(*self.quiet_since.get_or_insert(now)) >= cooldown
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, Tracker};
    use std::time::{Duration, Instant};
    use tidemill_api::{Ordering, Scaling};

    fn sample(lag: u64, ends: i64) -> Option<Sample> {
        Some(Sample { lag, ends, partitions: 12 })
    }

    #[test]
    fn the_rate_follows_arrivals_and_fades() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        let scaling = Scaling::default();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            tracker.observe(
                now,
                sample(0, 100 * i64::try_from(second).expect("small")),
                1,
                &scaling,
                Ordering::Partition,
            );
        }
        assert!((tracker.rate() - 100.0).abs() < 1.0, "{}", tracker.rate());
        tracker.observe(start + Duration::from_secs(120), sample(0, 5_900), 1, &scaling, Ordering::Partition);
        assert!(tracker.rate() < 1.0, "{}", tracker.rate());
    }

    #[test]
    fn fewer_replicas_come_after_a_whole_quiet_cooldown() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        let scaling = Scaling::default();
        let mut at = |second, lag, ends| {
            let now = start + Duration::from_secs(second);
            tracker.observe(now, sample(lag, ends), 1, &scaling, Ordering::Partition).replicas
        };
        assert_eq!(at(0, 0, 10), 1);
        assert_eq!(at(59, 0, 10), 1);
        assert_eq!(at(59, 3, 13), 1, "a record came: the cooldown begins anew");
        assert_eq!(at(61, 0, 13), 1);
        assert_eq!(at(120, 0, 13), 1);
        assert_eq!(at(122, 0, 13), 0);
    }

    #[test]
    fn what_is_unknown_changes_nothing_of_the_past() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        let scaling = Scaling::default();
        tracker.measured(100, 2.0, 2);
        tracker.observe(start, sample(5, 10), 3, &scaling, Ordering::Partition);
        let decision = tracker.observe(start + Duration::from_secs(90), None, 3, &scaling, Ordering::Partition);
        assert_eq!((decision.replicas, tracker.capacity()), (3, Some(100.0)));
    }

    #[test]
    fn a_schedules_replica_rests_after_the_cooldown() {
        let (mut tracker, start) = (Tracker::default(), Instant::now());
        let mut at =
            |second, wanted| tracker.rested(start + Duration::from_secs(second), wanted, Duration::from_secs(60));
        assert!(!at(0, true) && !at(10, false) && !at(69, false) && at(70, false) && !at(71, true) && !at(72, false));
    }
}
