//! KEDA's Kafka scaler with its defaults: between zero and one by its own poll, above one by the
//! horizontal pod autoscaler, which asks for the lag at each of its syncs.
//!
//! Sources: <https://keda.sh/docs/latest/reference/scaledobject-spec/> (`pollingInterval`,
//! `cooldownPeriod`) and <https://keda.sh/docs/latest/scalers/apache-kafka/> (`lagThreshold`,
//! `activationLagThreshold`, `allowIdleConsumers`, `limitToPartitionsWithLag`).

use super::{MAX_REPLICAS, Policy, Seen, hpa::Hpa, policy::Ticker};
use std::time::Duration;

/// `pollingInterval`.
const POLL: Duration = Duration::from_secs(30);
/// `cooldownPeriod`.
const COOLDOWN: Duration = Duration::from_secs(300);
/// How often the horizontal pod autoscaler syncs.
const SYNC: Duration = Duration::from_secs(15);

/// KEDA with everything but `lagThreshold` as it is by default.
#[derive(Debug)]
pub struct Keda {
    name: &'static str,
    lag_threshold: u64,
    polls: Ticker,
    syncs: Ticker,
    active: Duration,
    hpa: Hpa,
}

impl Keda {
    /// With this `lagThreshold`; its clocks strike first when the part `phase` of a period is over.
    #[must_use]
    pub fn new(name: &'static str, lag_threshold: u64, phase: f64) -> Self {
        Self {
            name,
            lag_threshold,
            polls: Ticker::new(POLL, phase),
            syncs: Ticker::new(SYNC, phase),
            active: Duration::ZERO,
            hpa: Hpa::default(),
        }
    }

    fn poll(&mut self, seen: &Seen) -> u32 {
        if seen.lag() > 0 {
            self.active = seen.now;
            return seen.asked.max(1);
        }
        if seen.now.saturating_sub(self.active) >= COOLDOWN { 0 } else { seen.asked }
    }
}

impl Policy for Keda {
    fn name(&self) -> &'static str {
        self.name
    }

    fn wanted(&mut self, seen: &Seen) -> u32 {
        let mut replicas = if self.polls.strikes(seen.now) { self.poll(seen) } else { seen.asked };
        // At zero replicas the autoscaler is switched off.
        if self.syncs.strikes(seen.now) && replicas > 0 && seen.asked > 0 {
            // More consumers than partitions would be idle, which is not allowed by default.
            let lag = seen.lag().min(self.lag_threshold * seen.lags.len() as u64);
            replicas = self.hpa.sync(seen.now, lag, self.lag_threshold, replicas, MAX_REPLICAS);
        }
        replicas
    }
}

#[cfg(test)]
mod tests {
    use super::{Keda, Policy, Seen};
    use crate::simulator::STEP;
    use std::time::Duration;

    /// When the count changes while the lag stays, and to what, in seconds.
    fn changes(lag: u64, replicas: u32, seconds: u32) -> Vec<(f64, u32)> {
        let (mut keda, mut asked, mut changes) = (Keda::new("KEDA", 500, 0.5), replicas, Vec::new());
        for step in 0..seconds * 10 {
            let seen = Seen { now: STEP * step, lags: vec![lag / 12; 12], asked, ..Seen::default() };
            let wanted = keda.wanted(&seen);
            if wanted != asked {
                changes.push((seen.now.as_secs_f64(), wanted));
            }
            asked = wanted;
        }
        changes
    }

    #[test]
    fn what_it_does_while_the_lag_stays() {
        for (what, lag, replicas, expected) in [
            ("nothing at rest", 0, 0, vec![]),
            (
                "one replica by the poll, more by the syncs after it",
                6_000,
                0,
                vec![(15.0, 1), (22.5, 5), (37.5, 10), (52.5, 12)],
            ),
            ("never more than partitions", 1_000_000, 6, vec![(7.5, 12)]),
            ("never the last of 12: what the cap leaves, 12 of 11, is within the tolerance", 1_000_000, 11, vec![]),
            ("one replica is enough for one threshold", 480, 0, vec![(15.0, 1)]),
        ] {
            assert_eq!(changes(lag, replicas, 200), expected, "{what}");
        }
    }

    #[test]
    fn a_rest_begins_after_the_cooldown() {
        assert_eq!(changes(0, 1, 600), [(315.0, 0)]);
    }

    #[test]
    fn a_record_is_seen_by_the_next_poll_at_the_latest() {
        let mut keda = Keda::new("KEDA", 500, 0.5);
        let mut woken = None;
        for step in 0..1_000 {
            let now = STEP * step;
            let lag = u64::from(now > Duration::from_secs(15));
            let seen = Seen { now, lags: vec![lag], ..Seen::default() };
            if keda.wanted(&seen) == 1 {
                woken.get_or_insert(now);
            }
        }
        assert_eq!(woken, Some(Duration::from_secs(45)), "it came just after a poll: 30 s");
    }
}
