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
use tidemill_api::{Start, plan::KafkaPlan};
use tidemill_kafka::{Connection, GroupLag, GroupObserver};
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
            let mut observers = Vec::new();
            for plan in &plans {
                let from_end = plan.start == Start::Latest;
                match GroupObserver::new(&connection, &plan.group, plan.topics.clone(), from_end) {
                    Ok(observer) => observers.push(observer),
                    Err(error) => {
                        error!(%error, group = plan.group, "lag cannot be watched");
                        return;
                    }
                }
            }
            while !stopped.load(Ordering::Relaxed) {
                let mut going_on = false;
                for (index, (plan, observer)) in plans.iter().zip(&mut observers).enumerate() {
                    let lag = observer.look();
                    let lag = lag.inspect_err(|error| debug!(%error, group = plan.group, "lag unknown")).ok();
                    let mut results = results.lock();
                    going_on |= lag != results[index].lag;
                    let round = results[index].round + 1;
                    results[index] = Seen { lag, at: Some(Instant::now()), round };
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
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
