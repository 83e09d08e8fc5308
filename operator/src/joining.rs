//! `/join`: replicas that were started together join their consumer group together, so that
//! partitions move once. The answer is held until all that are coming have asked.

use crate::load::Loads;
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use parking_lot::Mutex;
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// How long those that have asked wait for the others.
const GATHERED: Duration = Duration::from_millis(800);

/// Replicas that wait for one another, by function.
#[derive(Default)]
pub struct Joins {
    leads: AtomicBool,
    gatherings: Mutex<HashMap<String, Gathering>>,
}

struct Gathering {
    pods: BTreeSet<String>,
    open: watch::Sender<bool>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    function: String,
    pod: String,
}

impl Joins {
    /// From now on this replica of the operator answers: it holds the Lease.
    pub fn lead(&self) {
        self.leads.store(true, Ordering::Relaxed);
    }

    /// Takes a pod in; `coming` is how many have not joined yet. Answers what to wait for.
    fn gather(&self, function: &str, pod: &str, coming: u32) -> watch::Receiver<bool> {
        let mut all = self.gatherings.lock();
        let gathering = all
            .entry(function.to_owned())
            .or_insert_with(|| Gathering { pods: BTreeSet::new(), open: watch::Sender::new(false) });
        gathering.pods.insert(pod.to_owned());
        let receiver = gathering.open.subscribe();
        if gathering.pods.len() >= coming as usize {
            gathering.open.send_replace(true);
            all.remove(function);
        }
        receiver
    }

    /// Lets those go that have waited long enough.
    fn open(&self, function: &str) {
        if let Some(gathering) = self.gatherings.lock().remove(function) {
            gathering.open.send_replace(true);
        }
    }
}

/// The route.
pub fn route(joins: Arc<Joins>, loads: Arc<Loads>) -> Router {
    Router::new().route("/join", get(join).with_state((joins, loads)))
}

async fn join(
    State((joins, loads)): State<(Arc<Joins>, Arc<Loads>)>,
    Query(asked): Query<Asked>,
) -> (StatusCode, &'static str) {
    if !joins.leads.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "another replica holds the Lease\n");
    }
    let coming = loads.coming(&asked.function);
    let mut open = joins.gather(&asked.function, &asked.pod, coming);
    if timeout(GATHERED, open.wait_for(|open| *open)).await.is_err() {
        joins.open(&asked.function);
    }
    (StatusCode::OK, "join\n")
}

#[cfg(test)]
mod tests {
    use super::Joins;

    #[test]
    fn the_last_that_comes_opens_for_all() {
        let joins = Joins::default();
        let first = joins.gather("a/f", "one", 3);
        let again = joins.gather("a/f", "one", 3);
        let second = joins.gather("a/f", "two", 3);
        let other = joins.gather("a/g", "one", 2);
        assert!(!*first.borrow() && !*again.borrow() && !*second.borrow(), "one asked twice and counts once");
        let third = joins.gather("a/f", "three", 3);
        assert!(*first.borrow() && *second.borrow() && *third.borrow());
        assert!(!*other.borrow());
        assert!(*joins.gather("a/f", "four", 1).borrow(), "nobody else is coming");
        joins.open("a/g");
        assert!(*other.borrow());
    }
}
