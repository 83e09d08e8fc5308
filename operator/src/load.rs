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
use tidemill_api::plan::Plan;
use tidemill_autoscaler::{Sample, Tracker};
use tidemill_kafka::GroupLag;
use tidemill_runner::stats::Totals;

/// Between two status updates that only move numbers.
const NUMBERS: Duration = Duration::from_secs(2);

/// Why the lag is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blind {
    /// This topic is not there.
    NoTopic(String),
    /// Kafka did not answer.
    NoAnswer(String),
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

/// The loads of all functions, by `namespace/name`.
#[derive(Default)]
pub struct Loads(Mutex<HashMap<String, Entry>>);

struct Entry {
    plan: Arc<Plan>,
    hold: Option<Hold>,
    tracker: Tracker,
    load: Load,
    told: Option<Instant>,
    reports: HashMap<String, Totals>,
}

impl Loads {
    /// Keeps the function's plan and what outranks its scaling; `running` is how many replicas a
    /// function that was not known before has.
    pub fn declare(&self, function: &str, plan: &Arc<Plan>, hold: Option<Hold>, running: u32) -> Load {
        let mut all = self.0.lock();
        let entry = all.entry(function.to_owned()).or_insert_with(|| Entry {
            plan: plan.clone(),
            hold,
            tracker: Tracker::default(),
            load: Load { replicas: running, reason: "lag is unknown: held".to_owned(), ..Load::default() },
            told: None,
            reports: HashMap::new(),
        });
        let changed = entry.plan != *plan || entry.hold != hold;
        (entry.plan, entry.hold) = (plan.clone(), hold);
        let floor = plan.scaling.min.min(plan.scaling.max);
        if changed || entry.load.replicas < floor {
            entry.load.replicas = entry.load.replicas.clamp(floor, plan.scaling.max.max(floor));
        }
        entry.outrank(entry.load.replicas);
        entry.told = Some(Instant::now());
        entry.load.clone()
    }

    /// Forgets a function that is gone.
    pub fn remove(&self, function: &str) {
        self.0.lock().remove(function);
    }

    /// Takes in a look at the function's group, decides, and has the function reconciled where
    /// that changes something. Answers whether it is busy.
    pub fn observed(&self, function: &str, lag: Result<GroupLag, Blind>, now: Instant, triggers: &Triggers) -> bool {
        let mut all = self.0.lock();
        let Some(entry) = all.get_mut(function) else { return false };
        let Some(kafka) = entry.plan.kafka() else { return false };
        let ordering = kafka.ordering;
        let sample = lag.as_ref().ok().map(|lag| Sample {
            lag: lag.total().unsigned_abs(),
            ends: lag.ends(),
            partitions: u32::try_from(lag.partitions.len()).unwrap_or(u32::MAX),
        });
        let before = entry.load.clone();
        let scaling = &entry.plan.scaling;
        let decision = entry.tracker.observe(now, sample, before.replicas, scaling, ordering);
        entry.load = Load {
            lag: lag.as_ref().ok().map(GroupLag::total),
            blind: lag.err(),
            rate: rounded(entry.tracker.rate()),
            capacity: entry.tracker.capacity().map(rounded),
            replicas: decision.replicas,
            reason: decision.reason,
        };
        entry.outrank(before.replicas);
        metrics(function, &entry.load);
        let urgent = entry.load.replicas != before.replicas || entry.load.blind != before.blind;
        let numbers = entry.load != before && entry.told.is_none_or(|told| now.duration_since(told) >= NUMBERS);
        if urgent || numbers {
            entry.told = Some(now);
            triggers.function(function);
        }
        entry.load != before || entry.load.lag != Some(0)
    }

    /// For a schedule: one replica while an event is due, none after the cooldown.
    pub fn demanded(&self, function: &str, due: bool, now: Instant) -> Load {
        let mut all = self.0.lock();
        let Some(entry) = all.get_mut(function) else { return Load::default() };
        let scaling = entry.plan.scaling.clone();
        let rested = entry.tracker.rested(now, due, scaling.cooldown.get());
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
    pub fn reported(&self, function: &str, pod: &str, totals: Totals) {
        let mut all = self.0.lock();
        let Some(entry) = all.get_mut(function) else { return };
        entry.reports.insert(pod.to_owned(), totals);
        let mut sum = Totals::default();
        entry.reports.values().for_each(|totals| sum += *totals);
        let concurrency = entry.plan.concurrency;
        entry.tracker.measured(sum.answered, sum.busy_seconds, concurrency);
    }

    /// Forgets the reports of pods that are gone.
    pub fn keep_reports_of(&self, function: &str, pods: &[String]) {
        if let Some(entry) = self.0.lock().get_mut(function) {
            entry.reports.retain(|pod, _| pods.contains(pod));
        }
    }

    /// Why the function has as many replicas as it has.
    #[must_use]
    pub fn reason(&self, function: &str) -> String {
        self.0.lock().get(function).map(|entry| entry.load.reason.clone()).unwrap_or_default()
    }

    /// Functions that have replicas now.
    #[must_use]
    pub fn active(&self) -> Vec<String> {
        self.0.lock().iter().filter(|(_, entry)| entry.load.replicas > 0).map(|(name, _)| name.clone()).collect()
    }
}

impl Entry {
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
    if let Some(lag) = load.lag {
        metrics::gauge!("tidemill_operator_lag", &labels()).set(lag as f64);
    }
}

/// Numbers in a status need no more digits than people read.
fn rounded(value: f64) -> f64 {
    if value < 0.05 { 0.0 } else { (value * 10.0).round() / 10.0 }
}
