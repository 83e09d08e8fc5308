//! The lag of every function, asked for on a thread of its own: Kafka's answers are waited for
//! there, and nowhere else.

use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tidemill_api::plan::KafkaPlan;
use tidemill_kafka::{Asked, ClusterObserver, Connection, Group, GroupLag, Unknown};
use tracing::{debug, error, warn};

/// Between two rounds while something is going on.
const BUSY: Duration = Duration::from_millis(300);
/// Between two rounds while everything rests: the longest a first record waits for its function.
const QUIET: Duration = Duration::from_millis(600);

/// What was last seen of a group.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its lag; `None` while it is unknown.
    pub lag: Option<GroupLag>,
    /// When.
    pub at: Option<Instant>,
    /// How many rounds have been made.
    pub round: u64,
}

/// Watches the groups until it is dropped.
#[derive(Debug)]
pub struct LagWatch {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LagWatch {
    /// Starts watching; results keep the order of `plans`.
    #[must_use]
    pub fn start(connection: Connection, plans: Vec<KafkaPlan>) -> Self {
        let seen = Arc::new(Mutex::new(vec![Seen::default(); plans.len()]));
        let stop = Arc::new(AtomicBool::new(false));
        let (results, stopped) = (seen.clone(), stop.clone());
        let watch = move || {
            let groups: Vec<Group> = plans.iter().map(group).collect();
            let asked: Vec<Asked<'_>> = groups.iter().map(|group| Asked { group, resting: false }).collect();
            let mut observer = match ClusterObserver::new(&connection) {
                Ok(observer) => observer,
                Err(error) => {
                    error!(%error, "lag cannot be watched");
                    return;
                }
            };
            while !stopped.load(Ordering::Relaxed) {
                let found = match observer.look(&asked) {
                    Ok(found) => found.into_iter().zip(&groups).map(known).collect(),
                    Err(error) => {
                        debug!(%error, "lag unknown");
                        vec![None; groups.len()]
                    }
                };
                let at = Some(Instant::now());
                let mut going_on = false;
                for (seen, lag) in results.lock().iter_mut().zip(found) {
                    going_on |= lag != seen.lag;
                    *seen = Seen { lag, at, round: seen.round + 1 };
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(if going_on { BUSY } else { QUIET });
            }
        };
        let thread = std::thread::Builder::new().name("lag".to_owned()).spawn(watch).expect("a thread can be started");
        Self { seen, stop, thread: Some(thread) }
    }

    /// What was last seen of each group.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }
}

impl Drop for LagWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("watching lag has panicked");
        }
    }
}

fn group(plan: &KafkaPlan) -> Group {
    Group { id: plan.group.clone(), topics: plan.topics.clone() }
}

fn known((lag, group): (Result<GroupLag, Unknown>, &Group)) -> Option<GroupLag> {
    lag.inspect_err(|error| debug!(%error, group = group.id, "lag unknown")).ok()
}
