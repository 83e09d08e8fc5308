//! From look to look: what a decision needs to know of the past, and when a decision may be made.
//!
//! While replicas are on their way the count is left alone, unless none of them has joined the
//! group yet: then more of them cost no further rebalance. Replicas are taken away only when
//! fewer would have been enough during a whole `cooldown`.

use crate::{
    Look,
    arrival::Arrival,
    bound::Bound,
    capacity::Capacity,
    decide::{Facts, needed},
};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, time::Duration};
use tidemill_api::{Ordering, Scaling};

/// How long added replicas are waited for before the count is thought about again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the group takes to share its partitions anew after all replicas are there.
const REBALANCE: Duration = Duration::from_secs(1);
/// How long an added replica takes until it works, before that was measured.
const START: Duration = Duration::from_millis(1_500);
/// How many starts are kept to say so: their median, so that one slow start (an image that had to
/// be pulled) does not change what is expected of the next.
const STARTS: usize = 5;

/// How a function is scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Between how many replicas, and by what.
    pub scaling: Scaling,
    /// What may go on at once inside a partition.
    pub ordering: Ordering,
    /// Invocations in flight in a replica.
    pub concurrency: u32,
}

/// How many replicas, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Replicas wanted.
    pub replicas: u32,
    /// Why this many, in words.
    pub reason: String,
}

/// A function's past, as far as scaling needs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    arrival: Arrival,
    capacity: Capacity,
    bound: Bound,
    last: Option<(u32, u32)>,
    change: Option<Change>,
    settled: Option<Duration>,
    /// How long the last starts took.
    starts: VecDeque<Duration>,
    /// What was needed within the last cooldown: the peaks, each lower than the one before.
    peaks: VecDeque<(Duration, u32)>,
    quiet_since: Option<Duration>,
    waited: bool,
}

/// Replicas that were asked for and are not all there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Change {
    since: Duration,
    ready_before: u32,
}

impl Tracker {
    /// A function whose capacity was measured before: records a second of one invocation.
    #[must_use]
    pub fn with_capacity(per_invocation: f64) -> Self {
        Self { capacity: Capacity::known(per_invocation), ..Self::default() }
    }

    /// Records arriving a second (λ).
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.arrival.rate()
    }

    /// Records a second that one invocation works off (μ), once it was measured.
    #[must_use]
    pub fn per_invocation(&self) -> Option<f64> {
        self.capacity.per_invocation()
    }

    /// Takes in a look and decides.
    pub fn observe(&mut self, look: &Look, rules: &Rules) -> Decision {
        self.arrival.observe(look);
        self.capacity.observe(look.work, self.waited);
        self.follow(look);
        let scaling = &rules.scaling;
        let Some(lag) = look.lag() else {
            let replicas = look.replicas.clamp(scaling.min, scaling.max.max(scaling.min));
            return Decision { replicas, reason: "lag is unknown: held".to_owned() };
        };
        self.waited = lag > 0;
        let (needed, reason) = needed(&self.facts(look, lag, rules), scaling, rules.ordering);
        self.judge(look, lag, needed);
        self.remember(look.at, needed, look.replicas, scaling.cooldown.get());
        self.gate(look, needed, reason, scaling)
    }

    fn facts(&self, look: &Look, lag: u64, rules: &Rules) -> Facts {
        let partitions = look.partitions.as_deref().unwrap_or_default();
        let start = self.start() + REBALANCE;
        let growth = self.arrival.growth(start.as_secs_f64());
        let most = self.arrival.partitions().iter().copied().fold(0.0, f64::max);
        Facts {
            lag: (lag, partitions.iter().map(|partition| partition.lag).max().unwrap_or_default()),
            rate: (self.arrival.rate() * growth, most * growth),
            arrived: self.arrival.arrived(),
            per_invocation: self.capacity.per_invocation(),
            concurrency: rules.concurrency,
            partitions: u32::try_from(partitions.len()).unwrap_or(u32::MAX),
            replicas: look.replicas,
            start,
            bound: self.bound.limit(look.at).map(|(limit, words)| (limit, words.to_owned())),
        }
    }

    /// How long an added replica takes until it works.
    fn start(&self) -> Duration {
        let mut starts: Vec<Duration> = self.starts.iter().copied().collect();
        starts.sort_unstable();
        // Of an even number the shorter one.
        starts.get(starts.len().saturating_sub(1) / 2).copied().unwrap_or(START)
    }

    /// Follows replicas that were asked for until they are there.
    fn follow(&mut self, look: &Look) {
        let Look { at, replicas, ready, .. } = *look;
        let (last_asked, last_ready) = self.last.replace((replicas, ready)).unwrap_or((replicas, ready));
        if replicas != last_asked {
            let (since, ready_before) = match self.change {
                // Asked again before anybody joined: it is one change.
                Some(change) if last_ready <= change.ready_before => (change.since, change.ready_before),
                _ => (at, last_ready),
            };
            self.change = Some(Change { since, ready_before });
            self.settled = None;
        }
        if ready != replicas {
            // Some have gone by themselves.
            self.change.get_or_insert(Change { since: at, ready_before: 0 });
        } else if ready == replicas
            && let Some(change) = self.change.take()
        {
            self.settled = Some(at);
            if replicas > change.ready_before {
                if self.starts.len() == STARTS {
                    self.starts.pop_front();
                }
                self.starts.push_back(at.saturating_sub(change.since));
            }
        }
    }

    /// Whether all replicas that were asked for have been there for a moment.
    fn stable(&self, at: Duration) -> bool {
        match (self.change, self.settled) {
            (Some(change), _) => at.saturating_sub(change.since) >= PATIENCE,
            (None, Some(settled)) => at.saturating_sub(settled) >= REBALANCE,
            (None, None) => true,
        }
    }

    fn judge(&mut self, look: &Look, lag: u64, needed: u32) {
        let partitions = look.partitions.iter().flatten();
        let most = partitions.map(|partition| partition.lag).max().unwrap_or_default();
        // Where one partition has most of what waits, more replicas could not have helped.
        let uneven = most * 2 > lag && look.partitions.as_ref().is_some_and(|all| all.len() > 2);
        let done = look.ends().unwrap_or_default() - i64::try_from(lag).unwrap_or(i64::MAX);
        if needed < look.replicas || lag as f64 <= self.arrival.rate() {
            self.bound.keeps_up();
        } else if uneven || look.ready != look.replicas || look.ready == 0 || !self.stable(look.at) {
            self.bound.pause();
        } else {
            self.bound.behind(look.at, look.ready, done);
        }
    }

    fn remember(&mut self, at: Duration, needed: u32, replicas: u32, cooldown: Duration) {
        while self.peaks.back().is_some_and(|(_, peak)| *peak <= needed) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((at, needed));
        while self.peaks.front().is_some_and(|(then, _)| at.saturating_sub(*then) >= cooldown && *then < at) {
            self.peaks.pop_front();
        }
        if needed < replicas {
            self.quiet_since.get_or_insert(at);
        } else {
            self.quiet_since = None;
        }
    }

    /// Whether what is needed may be had now.
    fn gate(&self, look: &Look, needed: u32, reason: String, scaling: &Scaling) -> Decision {
        let Look { at, replicas, ready, .. } = *look;
        if needed == replicas {
            return Decision { replicas, reason };
        }
        let nobody_joined = self.change.is_some_and(|change| ready <= change.ready_before);
        if needed > replicas {
            if replicas == 0 || replicas < scaling.min || nobody_joined || self.stable(at) {
                return Decision { replicas: needed, reason };
            }
            let reason = format!("{reason}; {needed} once the {replicas} asked for are at work");
            return Decision { replicas, reason };
        }
        if replicas > scaling.max {
            return Decision { replicas: scaling.max.max(scaling.min), reason };
        }
        let cooldown = scaling.cooldown.get();
        let quiet = self.quiet_since.map_or(Duration::ZERO, |since| at.saturating_sub(since));
        if quiet < cooldown {
            let left = cooldown.saturating_sub(quiet).as_secs_f64().ceil();
            let reason = format!("{reason}; {} more for {left:.0} s of cooldown", replicas - needed);
            return Decision { replicas, reason };
        }
        // Never fewer than were needed at any time of the cooldown.
        let peak = self.peaks.front().map_or(needed, |(_, peak)| *peak).clamp(needed, replicas);
        let worth = (replicas - peak) * 4 >= replicas || quiet >= cooldown * 2;
        if !worth || !self.stable(at) {
            return Decision { replicas, reason: format!("{reason}; {peak} were needed within the cooldown") };
        }
        Decision { replicas: peak, reason }
    }
}

/// Rest of what is not started by lag: whether nobody has wanted a replica for a whole cooldown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest(Option<Duration>);

impl Rest {
    /// Whether it may rest at `at`, when `wanted` says that somebody wants it now.
    pub fn rested(&mut self, at: Duration, wanted: bool, cooldown: Duration) -> bool {
        if wanted {
            self.0 = None;
            return false;
        }
        at.saturating_sub(*self.0.get_or_insert(at)) >= cooldown
    }
}

#[cfg(test)]
mod tests {
    use super::{Rest, Rules, Tracker};
    use crate::{Look, Partition, Work};
    use proptest::prelude::*;
    use std::time::Duration;
    use tidemill_api::{Ordering, Scaling};

    fn rules() -> Rules {
        let scaling = Scaling { max: 12, ..Scaling::default() };
        Rules { scaling, ordering: Ordering::Partition, concurrency: 1 }
    }

    /// 12 partitions that share the lag evenly.
    fn look(millis: u64, lag: u64, end: i64, replicas: u32, ready: u32) -> Look {
        let partition = |lag, end| Partition { lag, end };
        let mut partitions = vec![partition(lag / 12, end / 12); 12];
        partitions[0] = partition(lag / 12 + lag % 12, end / 12 + end % 12);
        let at = Duration::from_millis(millis);
        Look { at, partitions: Some(partitions), replicas, ready, work: Work::default() }
    }

    #[test]
    fn one_jump_to_the_answer_and_none_while_it_is_on_its_way() {
        let mut tracker = Tracker::with_capacity(50.0);
        let mut at = |look: Look| tracker.observe(&look, &rules());
        assert_eq!(at(look(0, 1, 1, 0, 0)).replicas, 1, "the first record of a burst");
        assert_eq!(at(look(100, 2500, 2500, 1, 0)).replicas, 12, "nobody has joined yet: no rebalance is lost");
        assert_eq!(at(look(200, 3000, 3000, 12, 0)).replicas, 12);
        assert_eq!(at(look(1_300, 3000, 3000, 12, 7)).replicas, 12);
        assert_eq!(at(look(1_500, 2900, 3000, 12, 12)).replicas, 12);
    }

    #[test]
    fn while_replicas_join_more_are_waited_with() {
        let mut tracker = Tracker::with_capacity(50.0);
        let mut at = |look: Look| tracker.observe(&look, &rules());
        assert_eq!(at(look(0, 600, 600, 0, 0)).replicas, 2);
        assert_eq!(at(look(1_000, 600, 600, 2, 1)).replicas, 2);
        let held = at(look(1_100, 6_000, 6_000, 2, 1));
        assert!(held.replicas == 2 && held.reason.contains("once the 2"), "{held:?}");
        assert_eq!(at(look(1_200, 6_000, 6_000, 2, 2)).replicas, 2, "the group shares its partitions");
        assert_eq!(at(look(2_300, 6_000, 6_000, 2, 2)).replicas, 12);
    }

    #[test]
    fn replicas_that_never_come_do_not_hold_forever() {
        let mut tracker = Tracker::with_capacity(50.0);
        let mut at = |look: Look| tracker.observe(&look, &rules()).replicas;
        assert_eq!(at(look(0, 600, 600, 0, 0)), 2);
        assert_eq!(at(look(1_000, 600, 600, 2, 1)), 2);
        assert_eq!(at(look(20_000, 6_000, 6_000, 2, 1)), 2);
        assert_eq!(at(look(31_000, 6_000, 6_000, 2, 1)), 12);
    }

    #[test]
    fn fewer_replicas_come_after_a_whole_quiet_cooldown() {
        let mut tracker = Tracker::default();
        let mut at = |second: u64, lag, end| tracker.observe(&look(second * 1_000, lag, end, 1, 1), &rules()).replicas;
        assert_eq!(at(0, 0, 10), 1);
        assert_eq!(at(59, 0, 10), 1);
        assert_eq!(at(59, 3, 13), 1, "a record came: the cooldown begins anew");
        assert_eq!(at(61, 0, 13), 1);
        assert_eq!(at(120, 0, 13), 1);
        assert_eq!(at(122, 0, 13), 0);
    }

    #[test]
    fn never_fewer_than_were_needed_within_the_cooldown() {
        let mut tracker = Tracker::with_capacity(50.0);
        let mut at = |second: u64, lag| tracker.observe(&look(second * 1_000, lag, 9_000, 12, 12), &rules()).replicas;
        assert_eq!(at(0, 3_000), 12);
        assert_eq!(at(1, 1_400), 12);
        assert_eq!(at(30, 1_400), 12);
        assert_eq!(at(31, 0), 12);
        assert_eq!(at(62, 0), 4, "1,400 waited within the last minute");
    }

    #[test]
    fn what_is_unknown_holds_and_changes_nothing_of_the_past() {
        let mut tracker = Tracker::with_capacity(50.0);
        tracker.observe(&look(0, 5, 10, 3, 3), &rules());
        let decision = tracker.observe(&Look { partitions: None, ..look(90_000, 0, 0, 3, 3) }, &rules());
        assert!(decision.replicas == 3 && decision.reason.contains("unknown"), "{decision:?}");
        assert_eq!(tracker.per_invocation(), Some(50.0));
    }

    #[test]
    fn what_limits_from_behind_is_found_and_said() {
        let mut tracker = Tracker::with_capacity(10.0);
        let (mut replicas, mut done, mut reason) = (1, 0, String::new());
        for second in 0..120_u32 {
            // 20/s, whatever the number of replicas; after half a minute more are allowed.
            done += 20_u64;
            let work = Work { answered: done, busy_seconds: f64::from(second * replicas) };
            let seen = Look { work, ..look(u64::from(second) * 1_000, 99_000 - done, 99_000, replicas, replicas) };
            let scaling = Scaling { max: if second < 30 { 1 } else { 12 }, ..Scaling::default() };
            let decision = tracker.observe(&seen, &Rules { scaling, ..rules() });
            (replicas, reason) = (decision.replicas, decision.reason);
        }
        assert!(replicas == 1 && reason.contains("more add nothing"), "{replicas}: {reason}");
    }

    #[test]
    fn a_schedules_replica_rests_after_the_cooldown() {
        let mut rest = Rest::default();
        let mut at = |second, wanted| rest.rested(Duration::from_secs(second), wanted, Duration::from_secs(60));
        assert!(!at(0, true) && !at(10, false) && !at(69, false) && at(70, false) && !at(71, true) && !at(72, false));
    }

    proptest! {
        #[test]
        fn a_tracker_that_was_written_and_read_decides_alike(lags in prop::collection::vec(0_u64..5_000, 1..60)) {
            let mut one = Tracker::with_capacity(50.0);
            let mut replicas = 0;
            for (turn, lag) in lags.iter().enumerate() {
                let turn = turn as u64;
                let seen = look(turn * 700, *lag, i64::try_from(turn * 100 + lag).expect("small"), replicas, replicas);
                let text = serde_json::to_string(&one).expect("it is JSON");
                let mut two: Tracker = serde_json::from_str(&text).expect("it was written so");
                let decision = one.observe(&seen, &rules());
                prop_assert_eq!(&decision, &two.observe(&seen, &rules()));
                prop_assert!(decision.replicas <= 12);
                replicas = decision.replicas;
            }
        }
    }
}
