//! One thread for each Kafka cluster that looks at all groups of its functions.
//!
//! Kafka's answers are waited for here and nowhere else. All groups at rest cost one request
//! round together.

use crate::{
    context::Triggers,
    load::{Blind, Loads},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};
use tidemill_kafka::{ClusterObserver, Connection, Group, Unknown};
use tracing::{error, info, warn};

/// Between two rounds while something is going on.
const BUSY: Duration = Duration::from_millis(300);
/// Between two rounds while everything rests: the longest a first record waits to be seen.
const QUIET: Duration = Duration::from_millis(600);
/// Between two rounds while no function reads from the cluster.
const UNUSED: Duration = Duration::from_secs(2);
/// How often topics are asked for while one that a function needs is missing.
const MISSING: Duration = Duration::from_secs(1);

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
    groups: Arc<Mutex<BTreeMap<String, Group>>>,
    wanted: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    health: Arc<Mutex<Health>>,
    topics: Arc<Mutex<BTreeMap<String, i32>>>,
    stale: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Observer {
    /// Starts to look at the cluster named `key`.
    #[must_use]
    pub fn start(key: String, connection: Connection, loads: Arc<Loads>, triggers: Triggers) -> Self {
        let groups: Arc<Mutex<BTreeMap<String, Group>>> = Arc::default();
        let wanted: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
        let topics: Arc<Mutex<BTreeMap<String, i32>>> = Arc::default();
        let health: Arc<Mutex<Health>> = Arc::default();
        let (stale, stop): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let mut watch = Watch {
            groups: groups.clone(),
            wanted: Arc::clone(&wanted),
            asked: Instant::now(),
            health: health.clone(),
            topics: Arc::clone(&topics),
            stale: stale.clone(),
            key,
            loads,
            triggers,
        };
        let stopped = stop.clone();
        let run = move || {
            let mut kafka = match ClusterObserver::new(&connection) {
                Ok(kafka) => kafka,
                Err(error) => {
                    watch.tell(Health::Silent(describe(&error)));
                    error!(%error, cluster = watch.key, "the cluster cannot be watched");
                    return;
                }
            };
            while !stopped.load(Ordering::Relaxed) {
                let pause = watch.round(&mut kafka);
                std::thread::park_timeout(pause);
            }
        };
        let thread = std::thread::Builder::new().name("kafka".to_owned()).spawn(run);
        let thread = thread.expect("a thread can be started").thread().clone();
        Self { groups, wanted, health, topics, stale, stop, thread }
    }

    /// Has the group of a function (`namespace/name`) looked at from now on.
    pub fn add(&self, function: &str, group: Group) {
        self.groups.lock().insert(function.to_owned(), group);
        self.thread.unpark();
    }

    /// Says that topics were made or changed: they are asked for again at once.
    pub fn topics_changed(&self) {
        self.stale.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }

    /// Whether that is the group which is looked at for the function.
    #[must_use]
    pub fn looks_at(&self, function: &str, group: &Group) -> bool {
        self.groups.lock().get(function) == Some(group)
    }

    /// Has these topics found soon after they come: the function needs them.
    pub fn want(&self, function: &str, topics: Vec<String>) {
        self.wanted.lock().insert(function.to_owned(), topics);
    }

    /// Looks at the function's group no more.
    pub fn remove(&self, function: &str) {
        self.groups.lock().remove(function);
        self.wanted.lock().remove(function);
    }

    /// How the cluster was when it was last asked.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// How many partitions a topic has; `None` where it is not there or nobody knows.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.topics.lock().get(topic).copied()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // The thread ends with its round: a broker that does not answer may hold it for seconds.
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

struct Watch {
    key: String,
    groups: Arc<Mutex<BTreeMap<String, Group>>>,
    wanted: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    asked: Instant,
    health: Arc<Mutex<Health>>,
    topics: Arc<Mutex<BTreeMap<String, i32>>>,
    stale: Arc<AtomicBool>,
    loads: Arc<Loads>,
    triggers: Triggers,
}

impl Watch {
    /// One look at everything; answers how long to wait for the next.
    fn round(&mut self, kafka: &mut ClusterObserver) -> Duration {
        let (functions, groups): (Vec<String>, Vec<Group>) =
            self.groups.lock().iter().map(|(function, group)| (function.clone(), group.clone())).unzip();
        if self.stale.swap(false, Ordering::Relaxed) || self.lacks_topics() {
            kafka.forget_topics();
            self.asked = Instant::now();
        }
        let looked = kafka.look(&groups);
        let now = Instant::now();
        match looked {
            Ok(found) => {
                self.tell(Health::Answers(kafka.brokers()));
                let topics = kafka.topics();
                let news = topics != std::mem::replace(&mut *self.topics.lock(), topics.clone());
                if news {
                    // A function may wait for one of them.
                    self.wanted.lock().keys().for_each(|function| self.triggers.function(function));
                }
                let mut busy = false;
                for (function, lag) in functions.iter().zip(found) {
                    let lag = lag.map_err(|unknown| match unknown {
                        Unknown::TopicNotFound(topic) => Blind::NoTopic(topic),
                        Unknown::Kafka(error) => Blind::NoAnswer(describe(&error)),
                    });
                    busy |= self.loads.observed(function, lag, now, &self.triggers);
                }
                if groups.is_empty() {
                    UNUSED
                } else if busy {
                    BUSY
                } else {
                    QUIET
                }
            }
            Err(error) => {
                let error = describe(&error);
                for function in &functions {
                    self.loads.observed(function, Err(Blind::NoAnswer(error.clone())), now, &self.triggers);
                }
                self.tell(Health::Silent(error));
                UNUSED
            }
        }
    }

    fn lacks_topics(&self) -> bool {
        if self.asked.elapsed() < MISSING {
            return false;
        }
        let topics = self.topics.lock();
        self.wanted.lock().values().flatten().any(|topic| !topics.contains_key(topic))
    }

    fn tell(&mut self, health: Health) {
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
        self.triggers.cluster(&self.key);
    }
}

/// An error with all its causes.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
