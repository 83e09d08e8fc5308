//! The admin listener: `/live`, `/ready` and `/metrics`.
//!
//! It answers for as long as the process runs, also while it drains, and shares no state with
//! the work except the readiness flag.

use crate::metrics;
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, time::sleep};

/// The longest that an answer about readiness is held, in seconds.
const LONGEST_WAIT: u64 = 10;
/// How often readiness is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Whether the process should be sent work; starts as no.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says that the process can work (or no longer can).
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether the process can work.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The three routes, for a program that serves more beside them.
pub fn routes(readiness: Readiness) -> Router {
    let handle = metrics::install();
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready).with_state(readiness))
        .route("/metrics", get(move || std::future::ready(handle.render())))
}

/// Serves the three routes until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, readiness: Readiness) -> io::Result<()> {
    axum::serve(listener, routes(readiness)).await
}

/// `?wait=SECONDS` holds the answer until the process is ready: who asks once a second hears of it
/// at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Patience {
    wait: u64,
}

async fn ready(State(readiness): State<Readiness>, Query(patience): Query<Patience>) -> (StatusCode, &'static str) {
    let patience = Duration::from_secs(patience.wait.min(LONGEST_WAIT));
    let asked = Instant::now();
    while !readiness.get() && asked.elapsed() < patience {
        sleep(LOOK).await;
    }
    if readiness.get() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
