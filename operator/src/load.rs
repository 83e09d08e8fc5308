//! The load of each function, and how many replicas were decided on it.
//!
//! The decision itself is the autoscaler's. Here it meets what outranks it: a count set by hand,
//! and the annotations that pause scaling.

use crate::context::Triggers;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_api::{FunctionStatus, plan::Plan};
use tidemill_autoscaler::{Journal, Line, Look, Partition, Rest, Rules, Tracker, Work};
use tidemill_kafka::GroupLag;
use tidemill_runner::stats::{Held, Totals};

/// Between two status updates that only move numbers.
const NUMBERS: Duration = Duration::from_secs(2);
/// How long the looks at a function that rests again are kept.
const KEPT: Duration = Duration::from_secs(600);

/// Why the lag is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blind {
    /// This topic is not there.
    NoTopic(String),
    /// Kafka did not answer.
    NoAnswer(String),
}

/// How often a function's group must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It has lag, or something changes.
    Busy,
    /// It has replicas and no lag.
    Idle,
    /// It has neither: the next record wakes it.
    Resting,
}

/// What outranks the autoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `spec.replicas`, as `kubectl scale` sets it.
    ByHand(u32),
    /// `tidemill.dev/paused-replicas`.
    PausedAt(u32),
    /// `tidemill.dev/paused`: where it is.
    Paused,
}

/// The load of one function as it is told in its status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Records waiting; `None` while unknown.
    pub lag: Option<i64>,
    /// Why the lag is unknown.
    pub blind: Option<Blind>,
    /// Records arriving a second.
    pub rate: f64,
    /// Records a second that one replica works off, once measured.
    pub capacity: Option<f64>,
    /// Replicas wanted.
    pub replicas: u32,
    /// Why this many.
    pub reason: String,
}

/// What is there of a function when it is declared.
#[derive(Clone, Debug, Default)]
pub struct There {
    /// Replicas that were asked for.
    pub replicas: u32,
    /// Of these, those that take records.
    pub ready: u32,
}

/// The loads of all functions, by `namespace/name`.
pub struct Loads {
    all: Mutex<HashMap<String, Entry>>,
    /// Looks are told by the time since then.
    origin: Instant,
}

impl Default for Loads {
    fn default() -> Self {
        Self { all: Mutex::default(), origin: Instant::now() }
    }
}

struct Entry {
    plan: Arc<Plan>,
    rules: Rules,
    hold: Option<Hold>,
    tracker: Tracker,
    rest: Rest,
    journal: Option<Journal>,
    load: Load,
    ready: u32,
    told: Option<Instant>,
    busy: Option<Instant>,
    reports: HashMap<String, Told>,
    work: Work,
}

/// What a pod's runner has told.
#[derive(Clone, Debug, Default)]
struct Told {
    totals: Totals,
    /// Seconds of work between its last two reports.
    recent: f64,
    /// Partitions that wait for a record which takes long, or fails again and again.
    held: Vec<Held>,
}

impl Loads {
    /// Keeps the function's plan and what outranks its scaling; `there` and `status` are what a
    /// function that was not known before goes on from.
    pub fn declare(
        &self,
        function: &str,
        plan: &Arc<Plan>,
        hold: Option<Hold>,
        there: There,
        status: Option<&FunctionStatus>,
    ) -> Load {
        let mut all = self.all.lock();
        let rules = || Rules {
            scaling: plan.scaling.clone(),
            ordering: plan.kafka().map(|kafka| kafka.ordering).unwrap_or_default(),
            concurrency: plan.concurrency,
        };
        let entry = all.entry(function.to_owned()).or_insert_with(|| {
            let known = status.and_then(|status| status.capacity_per_replica).filter(|capacity| *capacity > 0.0);
            let lanes = f64::from(plan.concurrency.max(1));
            Entry {
                plan: plan.clone(),
                rules: rules(),
                hold,
                tracker: known.map_or_else(Tracker::default, |capacity| Tracker::with_capacity(capacity / lanes)),
                rest: Rest::default(),
                journal: None,
                load: Load {
                    replicas: there.replicas,
                    capacity: known,
                    reason: "lag is unknown: held".to_owned(),
                    ..Load::default()
                },
                ready: 0,
                told: None,
                busy: None,
                reports: HashMap::new(),
                work: Work::default(),
            }
        });
        entry.ready = there.ready;
        let changed = entry.plan != *plan || entry.hold != hold;
        let moved = |plan: &Plan| plan.kafka().map(|kafka| (kafka.group.clone(), kafka.topics.clone()));
        if changed && moved(&entry.plan) != moved(plan) {
            // Other partitions: where those ended says nothing of these.
            let known = entry.tracker.per_invocation();
            entry.tracker = known.map_or_else(Tracker::default, Tracker::with_capacity);
            entry.journal = None;
        }
        if changed {
            (entry.plan, entry.rules, entry.hold) = (plan.clone(), rules(), hold);
        }
        let floor = plan.scaling.min.min(plan.scaling.max);
        if changed || entry.load.replicas < floor {
            let before = entry.load.replicas;
            entry.load.replicas = before.clamp(floor, plan.scaling.max.max(floor));
            match entry.load.replicas {
                now if now > before => entry.load.reason = format!("the minimum is {now}"),
                now if now < before => entry.load.reason = format!("the maximum is {now}"),
                _ => {}
            }
        }
        entry.outrank(entry.load.replicas);
        entry.told = Some(Instant::now());
        entry.load.clone()
    }

    /// Forgets a function that is gone.
    pub fn remove(&self, function: &str) {
        self.all.lock().remove(function);
    }

    /// Takes in a look at the function's group, decides, and has the function reconciled where
    /// that changes something.
    pub fn observed(&self, function: &str, lag: Result<GroupLag, Blind>, now: Instant, triggers: &Triggers) -> Pace {
        let mut all = self.all.lock();
        let Some(entry) = all.get_mut(function) else { return Pace::Idle };
        if entry.plan.kafka().is_none() {
            return Pace::Idle;
        }
        let partition = |lag: i64, end| Partition { lag: lag.unsigned_abs(), end };
        let partitions = lag.as_ref().ok().map(|lag| lag.partitions.iter().map(|one| partition(one.lag(), one.end)));
        let before = entry.load.clone();
        let look = Look {
            at: now.duration_since(self.origin),
            partitions: partitions.map(Iterator::collect),
            replicas: before.replicas,
            ready: entry.ready.min(before.replicas),
            work: entry.work,
        };
        let waits = look.lag() != Some(0);
        let decision = entry.decide(look, waits || before.replicas > 0, now);
        entry.load = Load {
            lag: lag.as_ref().ok().map(GroupLag::total),
            blind: lag.err(),
            rate: rounded(entry.tracker.rate()),
            capacity: entry.capacity().map(rounded),
            replicas: decision.replicas,
            reason: entry.with_held(decision.reason),
        };
        entry.outrank(before.replicas);
        metrics(function, &entry.load);
        let urgent = entry.load.replicas != before.replicas || entry.load.blind != before.blind;
        let numbers = entry.load != before && entry.told.is_none_or(|told| now.duration_since(told) >= NUMBERS);
        if urgent || numbers {
            entry.told = Some(now);
            triggers.function(function);
        }
        match (entry.load.lag, entry.load.replicas) {
            // Below `activationLag` each further record counts.
            (Some(0), 0) => Pace::Resting,
            (Some(0), _) if entry.load == before => Pace::Idle,
            _ => Pace::Busy,
        }
    }

    /// For a schedule: one replica while an event is due, none after the cooldown.
    pub fn demanded(&self, function: &str, due: bool, now: Instant) -> Load {
        let mut all = self.all.lock();
        let Some(entry) = all.get_mut(function) else { return Load::default() };
        let scaling = entry.plan.scaling.clone();
        let rested = entry.rest.rested(now.duration_since(self.origin), due, scaling.cooldown.get());
        let words = if due { "an event is due" } else { "no event is due" };
        entry.load.reason = words.to_owned();
        entry.load.lag = None;
        let before = entry.load.replicas;
        if due {
            entry.load.replicas = scaling.min.max(1);
        } else if rested {
            entry.load.replicas = scaling.min;
        } else if entry.load.replicas > scaling.min {
            entry.load.reason = format!("{words}; kept for the cooldown");
        }
        entry.outrank(before);
        entry.load.clone()
    }

    /// Takes in what a pod's runner has done since it started.
    pub fn reported(&self, function: &str, pod: &str, totals: Totals, held: Vec<Held>) {
        let mut all = self.all.lock();
        let Some(entry) = all.get_mut(function) else { return };
        let told = entry.reports.entry(pod.to_owned()).or_default();
        let before = told.totals;
        // A runner that started again counts from nothing.
        let before = if totals.answered < before.answered { Totals::default() } else { before };
        let recent = (totals.busy_seconds - before.busy_seconds).max(0.0);
        *told = Told { totals, recent, held };
        entry.work.answered += totals.answered - before.answered;
        entry.work.busy_seconds += recent;
    }

    /// What it costs to take each pod away, from how busy it was of late: idle ones go first.
    #[must_use]
    pub fn deletion_costs(&self, function: &str) -> Vec<(String, i32)> {
        let all = self.all.lock();
        let reports = all.get(function).into_iter().flat_map(|entry| &entry.reports);
        reports.map(|(pod, told)| (pod.clone(), (told.recent * 1_000.0).min(1_000_000.0) as i32)).collect()
    }

    /// How many replicas were asked for and do not take records yet.
    #[must_use]
    pub fn coming(&self, function: &str) -> u32 {
        self.all.lock().get(function).map_or(0, |entry| entry.load.replicas.saturating_sub(entry.ready))
    }

    /// Whether a function has no replicas.
    #[must_use]
    pub fn rests(&self, function: &str) -> bool {
        self.all.lock().get(function).is_some_and(|entry| entry.load.replicas == 0)
    }

    /// The last looks at a function and what was decided on them, one JSON document a line.
    #[must_use]
    pub fn journal(&self, function: &str) -> Option<Vec<Line>> {
        Some(self.all.lock().get(function)?.journal.as_ref()?.lines().collect())
    }

    /// Functions whose last looks are kept.
    #[must_use]
    pub fn journals(&self) -> Vec<String> {
        let all = self.all.lock();
        all.iter().filter(|(_, entry)| entry.journal.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets the reports of pods that are gone.
    pub fn keep_reports_of(&self, function: &str, pods: &[String]) {
        if let Some(entry) = self.all.lock().get_mut(function) {
            entry.reports.retain(|pod, _| pods.contains(pod));
        }
    }

    /// Why the function has as many replicas as it has.
    #[must_use]
    pub fn reason(&self, function: &str) -> String {
        self.all.lock().get(function).map(|entry| entry.load.reason.clone()).unwrap_or_default()
    }

    /// Functions that have replicas now.
    #[must_use]
    pub fn active(&self) -> Vec<String> {
        self.all.lock().iter().filter(|(_, entry)| entry.load.replicas > 0).map(|(name, _)| name.clone()).collect()
    }
}

impl Entry {
    /// Decides; looks are kept while something is going on, and for a while after.
    fn decide(&mut self, look: Look, busy: bool, now: Instant) -> tidemill_autoscaler::Decision {
        if busy {
            self.busy = Some(now);
        }
        if self.busy.is_none_or(|busy| now.duration_since(busy) > KEPT) {
            self.journal = None;
        }
        if !busy {
            self.journal.iter_mut().for_each(Journal::cut);
            return self.tracker.observe(&look, &self.rules);
        }
        self.journal.get_or_insert_default().observe(&mut self.tracker, look, &self.rules)
    }

    /// The reason, and which record holds a partition up where one does: more replicas cannot help it.
    fn with_held(&self, reason: String) -> String {
        match say_held(self.reports.values().flat_map(|told| &told.held)) {
            None => reason,
            Some(held) => format!("{reason}; {held}"),
        }
    }

    /// Records a second that one replica works off.
    fn capacity(&self) -> Option<f64> {
        Some(self.tracker.per_invocation()? * f64::from(self.rules.concurrency.max(1)))
    }

    /// `before` is how many replicas there were before the autoscaler had its say.
    fn outrank(&mut self, before: u32) {
        match self.hold {
            None => {}
            Some(Hold::ByHand(count)) => (self.load.replicas, self.load.reason) = (count, "set by hand".to_owned()),
            Some(Hold::PausedAt(count)) => {
                self.load.replicas = count;
                self.load.reason = "paused by tidemill.dev/paused-replicas".to_owned();
            }
            Some(Hold::Paused) => {
                self.load.replicas = before;
                self.load.reason = "paused by tidemill.dev/paused".to_owned();
            }
        }
    }
}

fn metrics(function: &str, load: &Load) {
    let labels = || [("function", function.to_owned())];
    metrics::gauge!("tidemill_operator_desired_replicas", &labels()).set(f64::from(load.replicas));
    metrics::gauge!("tidemill_operator_arrival_rate", &labels()).set(load.rate);
    // Unknown is not a number, least of all the last one.
    metrics::gauge!("tidemill_operator_lag", &labels()).set(load.lag.map_or(f64::NAN, |lag| lag as f64));
}

/// Numbers in a status need no more digits than people read.
fn rounded(value: f64) -> f64 {
    if value < 0.05 { 0.0 } else { (value * 10.0).round() / 10.0 }
}

/// Which record a partition waits for, and how many others wait too.
fn say_held<'a>(held: impl Iterator<Item = &'a Held>) -> Option<String> {
    let mut held: Vec<_> = held.collect();
    held.sort_by(|a, b| (&a.partition, a.offset).cmp(&(&b.partition, b.offset)));
    // Two replicas may tell of one that has just moved.
    held.dedup_by(|a, b| a.partition == b.partition);
    let Held { partition, offset } = held.first()?;
    let others = match held.len() - 1 {
        0 => String::new(),
        1 => ", and 1 other partition waits".to_owned(),
        more => format!(", and {more} other partitions wait"),
    };
    Some(format!("{partition} waits for the record at offset {offset}{others}"))
}

#[cfg(test)]
mod tests {
    use super::say_held;
    use tidemill_runner::stats::Held;

    #[test]
    fn the_record_that_holds_a_partition_up_is_named() {
        let held = |number: i64| Held { partition: format!("ticks-{number}"), offset: 40 + number };
        for (which, expected) in [
            (vec![], None),
            (vec![3], Some("ticks-3 waits for the record at offset 43")),
            (vec![3, 1], Some("ticks-1 waits for the record at offset 41, and 1 other partition waits")),
            (vec![3, 3], Some("ticks-3 waits for the record at offset 43")),
            (vec![3, 1, 2, 1], Some("ticks-1 waits for the record at offset 41, and 2 other partitions wait")),
        ] {
            let all: Vec<_> = which.into_iter().map(held).collect();
            assert_eq!(say_held(all.iter()).as_deref(), expected);
        }
    }
}
