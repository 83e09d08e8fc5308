//! From lag, rates and capacity to a number of replicas.
//!
//! One jump to the answer on the way up; on the way down only after a quiet `cooldown`. What is
//! not known holds the count: silence of a broker is never read as "no lag".

use std::time::Duration;
use tidemill_api::{Ordering, Scaling};

/// What was seen of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Records waiting; `None` while it is unknown.
    pub lag: Option<u64>,
    /// Records arriving a second (λ).
    pub arrival_rate: f64,
    /// Whether any arrived since the last observation.
    pub arrived: bool,
    /// Records a second that one replica works off (μ); `None` before it was measured.
    pub capacity_per_replica: Option<f64>,
    /// Partitions of the trigger's topics.
    pub partitions: u32,
    /// Replicas there are.
    pub replicas: u32,
    /// How long fewer replicas than there are would have been enough.
    pub quiet: Duration,
}

/// How many replicas, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas wanted.
    pub replicas: u32,
    /// Replicas that the load alone asks for, before `cooldown` holds any back.
    pub needed: u32,
    /// Why this many, in words.
    pub reason: String,
}

/// The decision for an observation.
#[must_use]
pub fn decide(observation: &Observation, scaling: &Scaling, ordering: Ordering) -> Decision {
    let Observation { replicas, quiet, .. } = *observation;
    let Some(lag) = observation.lag else {
        let held = replicas.clamp(scaling.min, scaling.max);
        return Decision { replicas: held, needed: held, reason: "lag is unknown: held".to_owned() };
    };
    let (needed, reason) = needed(lag, observation, scaling, ordering);
    if needed >= replicas {
        return Decision { replicas: needed, needed, reason };
    }
    let cooldown = scaling.cooldown.get();
    if quiet < cooldown {
        let left = cooldown.saturating_sub(quiet).as_secs_f64().ceil();
        let reason = format!("{reason}; {} more for {left:.0} s of cooldown", replicas - needed);
        return Decision { replicas, needed, reason };
    }
    Decision { replicas: needed, needed, reason }
}

fn needed(lag: u64, observation: &Observation, scaling: &Scaling, ordering: Ordering) -> (u32, String) {
    let asleep = observation.replicas == 0;
    let threshold = if asleep { u64::from(scaling.activation_lag) } else { 0 };
    // Without arrivals a rate is history, not a reason to stay.
    if lag <= threshold && (asleep || !observation.arrived) {
        let reason = if scaling.min > 0 {
            format!("no lag: the minimum of {}", scaling.min)
        } else if lag > 0 {
            format!("{lag} waiting, not above activationLag {threshold}")
        } else {
            "no lag".to_owned()
        };
        return (scaling.min, reason);
    }
    let (asked, words) = by_load(lag, observation, scaling);
    let limit = if ordering == Ordering::Partition { observation.partitions.max(1) } else { u32::MAX };
    let capped = asked.min(limit).min(scaling.max).max(scaling.min).max(1);
    let reason = if capped == asked {
        words
    } else if capped > asked {
        format!("{words}; the minimum is {capped}")
    } else if limit <= scaling.max {
        format!("{words}; {limit} partitions allow no more")
    } else {
        format!("{words}; the maximum is {}", scaling.max)
    };
    (capped, reason)
}

/// Replicas that lag and rate ask for, without limits.
fn by_load(lag: u64, observation: &Observation, scaling: &Scaling) -> (u32, String) {
    if let Some(per_replica) = scaling.lag_per_replica {
        let asked = ceil(lag as f64 / f64::from(per_replica.max(1)));
        return (asked, format!("{lag} waiting, {per_replica} a replica"));
    }
    let target = scaling.drain_target.map_or(Duration::from_secs(10), tidemill_api::Duration::get);
    let seconds = target.as_secs_f64().max(0.001);
    let rate = observation.arrival_rate;
    match observation.capacity_per_replica {
        Some(capacity) if capacity > 0.0 => {
            let asked = ceil((lag as f64 / seconds + rate) / capacity).max(1);
            let words =
                format!("{lag} waiting, {rate:.0}/s arriving, {capacity:.0}/s a replica, to drain in {seconds:.0} s");
            (asked, words)
        }
        _ => (1, format!("{lag} waiting; capacity not measured yet")),
    }
}

fn ceil(value: f64) -> u32 {
    // Saturates: more than u32::MAX replicas is cut by the limits anyway.
    value.ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::{Decision, Observation, decide};
    use proptest::prelude::*;
    use std::time::Duration;
    use tidemill_api::{Ordering, Scaling};

    fn seen(lag: Option<u64>, rate: f64, capacity: Option<f64>, replicas: u32) -> Observation {
        Observation {
            lag,
            arrival_rate: rate,
            arrived: rate > 0.0,
            capacity_per_replica: capacity,
            partitions: 12,
            replicas,
            quiet: Duration::ZERO,
        }
    }

    fn check(observation: &Observation, scaling: &Scaling, replicas: u32, words: &str) {
        let decision = decide(observation, scaling, Ordering::Partition);
        assert_eq!(decision.replicas, replicas, "{observation:?}: {decision:?}");
        assert!(decision.reason.contains(words), "{observation:?}: {decision:?}");
    }

    #[test]
    fn the_count_follows_the_load_within_the_limits() {
        let scaling = Scaling { max: 20, ..Scaling::default() };
        check(&seen(Some(0), 0.0, None, 0), &scaling, 0, "no lag");
        check(&seen(Some(5), 0.0, None, 0), &scaling, 1, "not measured");
        check(&seen(Some(3000), 0.0, Some(50.0), 0), &scaling, 6, "3000 waiting");
        check(&seen(Some(3000), 100.0, Some(50.0), 0), &scaling, 8, "100/s arriving");
        check(&seen(Some(1_000_000), 0.0, Some(50.0), 1), &scaling, 12, "12 partitions");
        check(&seen(Some(1_000_000), 0.0, Some(50.0), 1), &Scaling { max: 4, ..scaling }, 4, "maximum is 4");
        check(&seen(Some(1), 0.0, Some(50.0), 0), &Scaling { min: 2, ..scaling }, 2, "minimum");
    }

    #[test]
    fn kedas_way_counts_lag() {
        let scaling = Scaling { lag_per_replica: Some(100), ..Scaling::default() };
        for (lag, replicas) in [(1, 1), (100, 1), (101, 2), (1000, 10), (99_999, 10)] {
            check(&seen(Some(lag), 0.0, Some(1.0), 0), &scaling, replicas, "100 a replica");
        }
    }

    #[test]
    fn unknown_lag_holds() {
        check(&seen(None, 0.0, Some(1.0), 3), &Scaling::default(), 3, "unknown");
    }

    #[test]
    fn activation_lag_keeps_a_resting_function_at_rest() {
        let scaling = Scaling { activation_lag: 10, ..Scaling::default() };
        check(&seen(Some(10), 0.0, None, 0), &scaling, 0, "activationLag 10");
        check(&seen(Some(11), 0.0, None, 0), &scaling, 1, "waiting");
        check(&seen(Some(10), 0.0, None, 1), &scaling, 1, "waiting");
    }

    #[test]
    fn fewer_only_after_the_cooldown() {
        let scaling = Scaling::default();
        let mut observation = seen(Some(0), 0.0, Some(10.0), 5);
        observation.quiet = Duration::from_secs(59);
        check(&observation, &scaling, 5, "1 s of cooldown");
        observation.quiet = Duration::from_secs(60);
        check(&observation, &scaling, 0, "no lag");
    }

    proptest! {
        #[test]
        fn limits_hold_and_more_lag_never_asks_for_less(
            lag in 0_u64..1_000_000, more in 0_u64..1_000_000, rate in 0.0_f64..10_000.0,
            capacity in prop::option::of(0.1_f64..1_000.0), replicas in 0_u32..20, max in 1_u32..30,
        ) {
            let scaling = Scaling { max, ..Scaling::default() };
            let one = decide(&seen(Some(lag), rate, capacity, replicas), &scaling, Ordering::Partition);
            let two = decide(&seen(Some(lag + more), rate, capacity, replicas), &scaling, Ordering::Partition);
            prop_assert!(one.needed <= max.min(12));
            prop_assert!(one.needed <= two.needed);
            let Decision { replicas: wanted, needed, .. } = one;
            prop_assert!(wanted == needed || wanted == replicas);
        }
    }
}
