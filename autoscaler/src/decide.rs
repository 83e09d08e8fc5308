//! From lag, rates and capacity to a number of replicas and the reason for it.
//!
//! One jump to the answer: the fewest replicas whose busiest drains its backlog in time. Limits
//! follow, each with its words. What is not known is never read as nothing.

use crate::share::Demand;
use std::time::Duration;
use tidemill_api::{Ordering, Scaling};

/// How much later than asked a backlog may be gone before a replica is added for it.
const LATE: f64 = 1.2;
/// How much later than with all replicas there may be it may be gone with fewer.
const NEARLY: f64 = 1.05;
/// How busy the busiest replica may be when there are fewer of them than now.
const ROOM: f64 = 0.9;

/// How much more than others a partition must have to be called hot.
const UNEVEN: f64 = 2.0;

/// What is known of a function when it is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Records waiting, on all partitions and on the one with most.
    pub lag: (u64, u64),
    /// Records arriving a second (λ), on all partitions and on the one with most, as they will be
    /// when added replicas are there.
    pub rate: (f64, f64),
    /// Whether any arrived since the last look.
    pub arrived: bool,
    /// Records a second that one invocation works off (μ); `None` before it was measured.
    pub per_invocation: Option<f64>,
    /// Invocations in flight in a replica.
    pub concurrency: u32,
    /// Partitions of the trigger's topics.
    pub partitions: u32,
    /// Replicas there are.
    pub replicas: u32,
    /// How long an added replica takes until it works.
    pub start: Duration,
    /// The most replicas that add something, and how that was seen.
    pub bound: Option<(u32, String)>,
}

/// Replicas that the load asks for, within the limits, and why.
#[must_use]
pub fn needed(facts: &Facts, scaling: &Scaling, ordering: Ordering) -> (u32, String) {
    let (lag, _) = facts.lag;
    let asleep = facts.replicas == 0;
    let threshold = if asleep { u64::from(scaling.activation_lag) } else { 0 };
    // Without arrivals a rate is history, not a reason to stay.
    if lag <= threshold && (asleep || !facts.arrived) {
        let reason = if scaling.min > 0 {
            format!("no lag: the minimum of {}", scaling.min)
        } else if lag > 0 {
            format!("{lag} waiting, not above activationLag {threshold}")
        } else {
            "no lag".to_owned()
        };
        return (scaling.min, reason);
    }
    // A partition has one owner in its group: more replicas than partitions have nothing to do.
    let cap = scaling.max.min(facts.partitions.max(1));
    let (asked, mut words) = match (scaling.lag_per_replica, facts.per_invocation) {
        (Some(each), _) => by_lag(lag, each, facts, ordering, cap),
        (None, Some(speed)) if speed > 0.0 => by_time(facts, scaling, ordering, speed, cap),
        // Those that are there may all be needed: nobody can say yet.
        _ => (facts.replicas.max(1), format!("{lag} waiting; capacity not measured yet")),
    };
    let mut count = asked;
    if count > cap {
        let why = if cap < scaling.max {
            format!("{} partitions allow no more", facts.partitions)
        } else {
            format!("the maximum is {cap}")
        };
        (count, words) = (cap, format!("{words}; {why}"));
    }
    let share = share_of(facts, ordering);
    if share.as_good_as(count) < count {
        let fewer = share.as_good_as(count);
        words = format!("{words}; {count} would leave the busiest as busy as {fewer}");
        count = fewer;
    }
    if let Some((bound, how)) = &facts.bound
        && *bound < count
    {
        (count, words) = (*bound, format!("{words}; {how}"));
    }
    let floor = scaling.min.max(1);
    if count < floor {
        (count, words) = (floor, format!("{words}; the minimum is {floor}"));
    }
    (count, words)
}

/// KEDA's way: a replica for each so many records.
fn by_lag(lag: u64, each: u32, facts: &Facts, ordering: Ordering, cap: u32) -> (u32, String) {
    let asked = u32::try_from(lag.div_ceil(u64::from(each.max(1)))).unwrap_or(u32::MAX).max(1);
    let words = format!("{lag} waiting, {each} a replica");
    // What arrives needs replicas too: the lag of those there are is small only because they are.
    let Some(per_invocation) = facts.per_invocation.filter(|speed| *speed > 0.0) else { return (asked, words) };
    let arriving = Demand { total: facts.rate.0, per_invocation, ..share_of(facts, ordering) };
    let kept = (1..=cap).find(|replicas| arriving.busiest(*replicas) <= 1.0).unwrap_or(cap).min(facts.replicas);
    if kept > asked { (kept, format!("{words}; {:.0}/s arriving need {kept}", facts.rate.0)) } else { (asked, words) }
}

/// The fewest replicas whose busiest is done in time, or nearly as soon as with all there may be.
fn by_time(facts: &Facts, scaling: &Scaling, ordering: Ordering, speed: f64, cap: u32) -> (u32, String) {
    let target = scaling.drain_target.map_or(Duration::from_secs(10), tidemill_api::Duration::get);
    let seconds = target.as_secs_f64().max(0.001);
    let later = (seconds - facts.start.as_secs_f64()).max(seconds / 4.0);
    let demand = |within: f64| Demand {
        total: facts.lag.0 as f64 / within + facts.rate.0,
        hottest: facts.lag.1 as f64 / within + facts.rate.1,
        per_invocation: speed,
        ..share_of(facts, ordering)
    };
    let (soon, late) = (demand(seconds), demand(later));
    let loads = |replicas: u32| {
        let demand = if replicas > facts.replicas { late } else { soon };
        (demand.busiest(replicas), demand.hottest(replicas))
    };
    let best = loads(cap);
    let fits = |replicas: &u32| {
        let limit = if *replicas < facts.replicas { ROOM } else { LATE };
        let (busiest, hottest) = loads(*replicas);
        busiest <= limit.max(best.0 * NEARLY) && hottest <= limit.max(best.1 * NEARLY)
    };
    let asked = (1..=cap).find(fits).unwrap_or(cap);
    let capacity = soon.capacity(soon.share(asked));
    let mut words = format!(
        "{} waiting, {:.0}/s arriving, {capacity:.0}/s a replica, to drain in {seconds:.0} s",
        facts.lag.0, facts.rate.0
    );
    let (busiest, hottest) = loads(asked);
    if busiest <= LATE && hottest <= LATE {
        return (asked, words);
    }
    // It takes longer than asked. Why?
    let uneven = soon.hottest * f64::from(facts.partitions) > soon.total * UNEVEN;
    if busiest <= LATE && uneven {
        words = format!("{words}; one partition has more than a replica can do in that time");
        return (asked, words);
    }
    // What would be enough if there were no limits.
    let unlimited = (soon.total / capacity).ceil().min(f64::from(u32::MAX)) as u32;
    (unlimited.max(asked), words)
}

fn share_of(facts: &Facts, ordering: Ordering) -> Demand {
    let Facts { partitions, concurrency, .. } = *facts;
    Demand { partitions, total: 0.0, hottest: 0.0, per_invocation: 1.0, concurrency, ordering }
}

#[cfg(test)]
mod tests {
    use super::{Facts, needed};
    use proptest::prelude::*;
    use std::time::Duration;
    use tidemill_api::{Ordering, Scaling};

    fn seen(lag: u64, rate: f64, speed: Option<f64>, replicas: u32) -> Facts {
        Facts {
            lag: (lag, lag / 12),
            rate: (rate, rate / 12.0),
            arrived: rate > 0.0,
            per_invocation: speed,
            concurrency: 1,
            partitions: 12,
            replicas,
            start: Duration::ZERO,
            bound: None,
        }
    }

    fn check(facts: &Facts, scaling: &Scaling, replicas: u32, words: &str) {
        let (count, reason) = needed(facts, scaling, Ordering::Partition);
        assert_eq!(count, replicas, "{facts:?}: {reason}");
        assert!(reason.contains(words), "{facts:?}: {reason}");
    }

    #[test]
    fn the_count_follows_the_load_within_the_limits() {
        let scaling = Scaling { max: 20, ..Scaling::default() };
        check(&seen(0, 0.0, None, 0), &scaling, 0, "no lag");
        check(&seen(5, 0.0, None, 0), &scaling, 1, "not measured");
        check(&seen(5, 1.0, None, 4), &scaling, 4, "not measured");
        check(&seen(3000, 0.0, Some(50.0), 0), &scaling, 6, "3000 waiting");
        check(&seen(3000, 100.0, Some(50.0), 0), &scaling, 12, "100/s arriving");
        check(&seen(1_000_000, 0.0, Some(50.0), 1), &scaling, 12, "12 partitions");
        check(&seen(1_000_000, 0.0, Some(50.0), 1), &Scaling { max: 4, ..scaling }, 4, "maximum is 4");
        check(&seen(1, 0.0, Some(50.0), 0), &Scaling { min: 2, ..scaling }, 2, "minimum");
        check(&seen(1_000_000, 0.0, Some(50.0), 1), &Scaling { max: 10, ..scaling }, 6, "as busy as 6");
    }

    #[test]
    fn replicas_that_must_start_first_have_less_time() {
        let scaling = Scaling { max: 20, ..Scaling::default() };
        let slow = Facts { start: Duration::from_secs(5), ..seen(3000, 0.0, Some(50.0), 1) };
        check(&slow, &scaling, 12, "3000 waiting");
        check(&Facts { replicas: 6, ..slow }, &scaling, 6, "3000 waiting");
    }

    #[test]
    fn a_hot_partition_is_no_reason_for_more() {
        let scaling = Scaling { max: 12, ..Scaling::default() };
        let hot = Facts { lag: (3000, 2900), ..seen(3000, 0.0, Some(50.0), 1) };
        let (count, reason) = needed(&hot, &scaling, Ordering::Partition);
        assert!(count <= 4 && reason.contains("one partition"), "{count}: {reason}");
    }

    #[test]
    fn fewer_only_where_they_have_room() {
        let scaling = Scaling { max: 12, ..Scaling::default() };
        check(&seen(1, 190.0, Some(50.0), 4), &scaling, 4, "190/s");
        check(&seen(1, 150.0, Some(50.0), 6), &scaling, 4, "150/s");
        check(&seen(1, 185.0, Some(50.0), 6), &scaling, 6, "185/s");
    }

    #[test]
    fn kedas_way_counts_lag() {
        let scaling = Scaling { lag_per_replica: Some(100), max: 12, ..Scaling::default() };
        for (lag, replicas) in [(1, 1), (100, 1), (101, 2), (600, 6), (1000, 6), (99_999, 12)] {
            check(&seen(lag, 0.0, Some(1.0), 0), &scaling, replicas, "100 a replica");
        }
    }

    #[test]
    fn counted_lag_takes_away_nobody_whom_the_arrivals_need() {
        let scaling = Scaling { lag_per_replica: Some(100), max: 12, ..Scaling::default() };
        // 500/s on 12 partitions at 50/s a replica: 6 replicas would have two partitions, 83/s, each.
        check(&seen(60, 500.0, Some(50.0), 12), &scaling, 12, "500/s arriving need 12");
        check(&seen(60, 250.0, Some(50.0), 12), &scaling, 6, "250/s arriving need 6");
        check(&seen(60, 500.0, Some(50.0), 3), &scaling, 3, "arriving need 3");
    }

    #[test]
    fn more_than_what_limits_from_behind_is_not_asked_for() {
        let bound = Some((3, "6 did no more".to_owned()));
        let facts = Facts { bound, ..seen(3000, 0.0, Some(50.0), 3) };
        check(&facts, &Scaling::default(), 3, "6 did no more");
    }

    #[test]
    fn activation_lag_keeps_a_resting_function_at_rest() {
        let scaling = Scaling { activation_lag: 10, ..Scaling::default() };
        check(&seen(10, 0.0, None, 0), &scaling, 0, "activationLag 10");
        check(&seen(11, 0.0, None, 0), &scaling, 1, "waiting");
        check(&seen(10, 0.0, None, 1), &scaling, 1, "waiting");
    }

    proptest! {
        #[test]
        fn limits_hold_and_more_lag_never_asks_for_less(
            lag in 0_u64..1_000_000, more in 0_u64..1_000_000, rate in 0.0_f64..10_000.0,
            speed in prop::option::of(0.1_f64..1_000.0), replicas in 0_u32..20, max in 1_u32..30,
        ) {
            let scaling = Scaling { max, ..Scaling::default() };
            let (one, _) = needed(&seen(lag, rate, speed, replicas), &scaling, Ordering::Partition);
            let (two, _) = needed(&seen(lag + more, rate, speed, replicas), &scaling, Ordering::Partition);
            prop_assert!(one <= max.min(12));
            prop_assert!(one <= two, "{one} {two}");
        }
    }
}
