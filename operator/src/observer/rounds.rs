//! Looks at the groups of functions at work, each as often as it needs, all that are due together.

use super::{Health, Shared, describe};
use crate::{
    context::Triggers,
    load::{Blind, Loads, Pace},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    thread::park_timeout,
    time::{Duration, Instant},
};
use tidemill_kafka::{Asked, ClusterObserver, Connection, Group, GroupLag, Place, Unknown};
use tracing::error;

/// Between two looks at a group that has just got its first record: more may be coming.
const FRESH: Duration = Duration::from_millis(60);
/// How long it is looked at so often.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// Between two looks at a group that has lag.
const BUSY: Duration = Duration::from_millis(300);
/// Between two looks at a group that has replicas and no lag.
const IDLE: Duration = Duration::from_secs(1);
/// Between two looks at all groups at rest, together: records wake them before.
const RESTING: Duration = Duration::from_secs(30);
/// Between two looks at what is not known.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Between two looks at a cluster of whose groups none is due.
const QUIET: Duration = Duration::from_secs(5);
/// How often topics are asked for while one that a function needs is missing.
const MISSING: Duration = Duration::from_secs(1);

/// Looks until told to stop.
pub(super) fn run(shared: Arc<Shared>, connection: &Connection, loads: Arc<Loads>, triggers: Triggers) {
    let mut kafka = match ClusterObserver::new(connection) {
        Ok(kafka) => kafka,
        Err(error) => {
            error!(%error, cluster = shared.key, "the cluster cannot be watched");
            shared.tell(Health::Silent(describe(&error)), &triggers);
            return;
        }
    };
    let began = Instant::now();
    let mut rounds = Rounds { shared, loads, triggers, began, asked: began, functions: HashMap::new() };
    while !rounds.shared.stopped() {
        let pause = rounds.round(&mut kafka);
        park_timeout(pause);
    }
}

struct Rounds {
    shared: Arc<Shared>,
    loads: Arc<Loads>,
    triggers: Triggers,
    /// Groups at rest are looked at whole times of `RESTING` after it, to share one round.
    began: Instant,
    /// When topics were last asked for because one was missing.
    asked: Instant,
    functions: HashMap<String, Due>,
}

/// When a function's group is looked at next.
struct Due {
    group: Group,
    next: Instant,
    woken: Option<Instant>,
    /// Where its partitions end, while it rests.
    rests: Option<Vec<(Place, i64)>>,
}

impl Rounds {
    /// One look at all that is due; answers how long to wait for the next.
    fn round(&mut self, kafka: &mut ClusterObserver) -> Duration {
        let mut changed = self.follow(kafka);
        if self.shared.stale.swap(false, Ordering::Relaxed) || self.lacks_topics() {
            kafka.forget_topics();
            self.asked = Instant::now();
        }
        self.wake();
        let now = Instant::now();
        let due: Vec<(String, Group)> = self
            .functions
            .iter()
            .filter(|(_, due)| due.next <= now)
            .map(|(function, due)| (function.clone(), due.group.clone()))
            .collect();
        // What has woken was seen: it need not be looked for.
        let woken = |function: &str| self.functions.get(function).is_some_and(|due| due.woken.is_some());
        let rests = |function: &str| self.loads.rests(function) && !woken(function);
        let asked: Vec<Asked<'_>> =
            due.iter().map(|(function, group)| Asked { group, resting: rests(function) }).collect();
        let before = kafka.requests();
        let looked = kafka.look(&asked);
        metrics::counter!("tidemill_operator_kafka_requests_total").increment(kafka.requests() - before);
        match looked {
            Ok(found) => {
                self.shared.tell(Health::Answers(kafka.brokers()), &self.triggers);
                self.tell_topics(kafka.topics());
                for ((function, _), lag) in due.iter().zip(found) {
                    changed |= self.seen(function, lag);
                }
            }
            Err(error) => {
                let error = describe(&error);
                let later = Instant::now() + UNKNOWN;
                for (function, due) in &mut self.functions {
                    self.loads.observed(function, Err(Blind::NoAnswer(error.clone())), later, &self.triggers);
                    due.next = later;
                }
                self.shared.tell(Health::Silent(error), &self.triggers);
            }
        }
        if changed {
            self.watch();
        }
        let next = self.functions.values().map(|due| due.next).min();
        let until = next.map_or(QUIET, |next| next.saturating_duration_since(Instant::now()));
        until.min(if self.wants_topics() { MISSING } else { QUIET })
    }

    /// Takes in functions that came, went or changed their group; answers whether any did.
    fn follow(&mut self, kafka: &mut ClusterObserver) -> bool {
        if !self.shared.moved.swap(false, Ordering::Acquire) {
            return false;
        }
        let groups = self.shared.groups.lock();
        let before = self.functions.len();
        self.functions.retain(|function, due| {
            let stays = groups.get(function) == Some(&due.group);
            if !stays {
                kafka.forget(&due.group);
            }
            stays
        });
        let mut changed = before != self.functions.len();
        for (function, group) in groups.iter() {
            self.functions.entry(function.clone()).or_insert_with(|| {
                changed = true;
                Due { group: group.clone(), next: Instant::now(), woken: None, rests: None }
            });
        }
        changed
    }

    /// Has functions looked at on whose topics a record came.
    fn wake(&mut self) {
        let woken = std::mem::take(&mut *self.shared.woken.lock());
        if woken.is_empty() {
            return;
        }
        for due in self.functions.values_mut().filter(|due| due.rests.is_some()) {
            if let Some(at) = due.group.topics.iter().find_map(|topic| woken.get(topic)) {
                (due.next, due.woken) = (*at, Some(*at));
            }
        }
    }

    /// Takes in what was seen of a function's group; answers whether it came to rest or woke.
    fn seen(&mut self, function: &str, lag: Result<GroupLag, Unknown>) -> bool {
        let now = Instant::now();
        let ends = lag.as_ref().ok().map(|lag| {
            let place = |one: &tidemill_kafka::PartitionLag| ((one.topic.clone(), one.partition), one.end);
            lag.partitions.iter().map(place).collect::<Vec<_>>()
        });
        let lag = lag.map_err(|unknown| match unknown {
            Unknown::TopicNotFound(topic) => Blind::NoTopic(topic),
            Unknown::Kafka(error) => Blind::NoAnswer(describe(&*error)),
        });
        let known = lag.is_ok();
        let pace = self.loads.observed(function, lag, now, &self.triggers);
        let Some(due) = self.functions.get_mut(function) else { return false };
        if let Some(woken) = due.woken
            && pace != Pace::Resting
        {
            if due.rests.is_some() {
                metrics::histogram!("tidemill_operator_wake_seconds").record(now.duration_since(woken).as_secs_f64());
            }
            due.woken = (now.duration_since(woken) < FRESH_FOR).then_some(woken);
        } else if known && due.rests.is_some() && pace != Pace::Resting {
            metrics::counter!("tidemill_operator_wakes_missed_total").increment(1);
        }
        let fresh = due.woken.is_some() && pace == Pace::Busy;
        due.next = match pace {
            _ if !known => now + UNKNOWN,
            _ if fresh => now + FRESH,
            Pace::Busy => now + BUSY,
            Pace::Idle => now + IDLE,
            Pace::Resting => next_of_all(self.began, now),
        };
        let rests = ends.filter(|_| pace == Pace::Resting);
        let changed = due.rests != rests || due.woken.is_some();
        if pace == Pace::Resting {
            due.woken = None;
        }
        due.rests = rests;
        changed
    }

    /// Has the partitions watched of all functions that rest.
    fn watch(&self) {
        let mut watched: BTreeMap<Place, i64> = BTreeMap::new();
        for (place, end) in self.functions.values().filter_map(|due| due.rests.as_ref()).flatten() {
            let from = watched.entry(place.clone()).or_insert(*end);
            *from = (*from).min(*end);
        }
        let mut shared = self.shared.watched.lock();
        shared.places = watched;
        shared.version += 1;
    }

    fn tell_topics(&self, topics: BTreeMap<String, i32>) {
        let mut known = self.shared.topics.lock();
        if *known != topics {
            *known = topics;
            drop(known);
            // A function may wait for one of them.
            self.shared.wanted.lock().keys().for_each(|function| self.triggers.function(function));
        }
    }

    fn lacks_topics(&self) -> bool {
        self.asked.elapsed() >= MISSING && self.wants_topics()
    }

    fn wants_topics(&self) -> bool {
        let topics = self.shared.topics.lock();
        self.shared.wanted.lock().values().flatten().any(|topic| !topics.contains_key(topic))
    }
}

/// When all groups at rest are looked at again.
fn next_of_all(began: Instant, now: Instant) -> Instant {
    let turns = now.duration_since(began).as_nanos() / RESTING.as_nanos() + 1;
    began + RESTING * u32::try_from(turns).unwrap_or(u32::MAX)
}
