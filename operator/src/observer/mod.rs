//! Looks at a Kafka cluster for all functions that read from it.
//!
//! Kafka's answers are waited for on two threads of its own and nowhere else: [`rounds`] looks at
//! the groups that are at work, [`wake`] waits for the first record for those at rest. Groups at
//! rest cost one held fetch together.

mod rounds;
mod wake;

use crate::{context::Triggers, load::Loads};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::Instant,
};
use tidemill_kafka::{Connection, Group, Place};
use tracing::{info, warn};

/// What is known of a cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not asked yet.
    #[default]
    Unasked,
    /// So many brokers answered.
    Answers(i32),
    /// None did, for this reason.
    Silent(String),
}

/// Looks at a cluster until it is dropped.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Shared>,
    rounds: Thread,
}

/// What the threads and the reconciles tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// `namespace/name` of the KafkaCluster.
    key: String,
    groups: Mutex<BTreeMap<String, Group>>,
    /// Groups came, went or changed.
    moved: AtomicBool,
    wanted: Mutex<BTreeMap<String, Vec<String>>>,
    health: Mutex<Health>,
    topics: Mutex<BTreeMap<String, i32>>,
    /// Topics must be asked for again.
    stale: AtomicBool,
    stop: AtomicBool,
    watched: Mutex<Watched>,
    /// Topics on which a record came, and when that was seen.
    woken: Mutex<BTreeMap<String, Instant>>,
}

/// Partitions at rest.
#[derive(Debug, Default)]
struct Watched {
    /// From where on a record wakes.
    places: BTreeMap<Place, i64>,
    /// It grows when others are to be watched.
    version: u64,
}

impl Observer {
    /// Starts to look at the cluster named `key`.
    #[must_use]
    pub fn start(key: String, connection: Connection, loads: Arc<Loads>, triggers: Triggers) -> Self {
        let shared = Arc::new(Shared { key, ..Shared::default() });
        let name = || std::thread::Builder::new().name("kafka".to_owned());
        let (own, reach) = (shared.clone(), connection.clone());
        let rounds = name().spawn(move || rounds::run(own, &reach, loads, triggers)).expect("a thread can be started");
        let rounds = rounds.thread().clone();
        let (own, waker) = (shared.clone(), rounds.clone());
        name().spawn(move || wake::run(&own, &connection, &waker)).expect("a thread can be started");
        Self { shared, rounds }
    }

    /// Has the group of a function (`namespace/name`) looked at from now on.
    pub fn add(&self, function: &str, group: Group) {
        self.shared.groups.lock().insert(function.to_owned(), group);
        self.shared.moved.store(true, Ordering::Release);
        self.rounds.unpark();
    }

    /// Says that topics were made or changed: they are asked for again at once.
    pub fn topics_changed(&self) {
        self.shared.stale.store(true, Ordering::Relaxed);
        self.rounds.unpark();
    }

    /// Whether that is the group which is looked at for the function.
    #[must_use]
    pub fn looks_at(&self, function: &str, group: &Group) -> bool {
        self.shared.groups.lock().get(function) == Some(group)
    }

    /// Has these topics found soon after they come: the function needs them.
    pub fn want(&self, function: &str, topics: Vec<String>) {
        self.shared.wanted.lock().insert(function.to_owned(), topics);
    }

    /// Looks at the function's group no more.
    pub fn remove(&self, function: &str) {
        if self.shared.groups.lock().remove(function).is_some() {
            self.shared.moved.store(true, Ordering::Release);
        }
        self.shared.wanted.lock().remove(function);
    }

    /// How the cluster was when it was last asked.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// How many partitions a topic has; `None` where it is not there or nobody knows.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.shared.topics.lock().get(topic).copied()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // The threads end with what they wait for: a broker that does not answer may hold them.
        self.shared.stop.store(true, Ordering::Relaxed);
        self.rounds.unpark();
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Keeps how the cluster is, and has it reconciled where that is news.
    fn tell(&self, health: Health, triggers: &Triggers) {
        let mut known = self.health.lock();
        if *known == health {
            return;
        }
        match &health {
            Health::Silent(error) => warn!(cluster = self.key, error, "the cluster does not answer"),
            Health::Answers(brokers) => info!(cluster = self.key, brokers, "the cluster answers"),
            Health::Unasked => {}
        }
        *known = health;
        drop(known);
        triggers.cluster(&self.key);
    }
}

/// An error with all its causes; one that says nothing new is left out.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
