//! The admin listener: `/live`, `/ready` and `/metrics`.
//!
//! It answers for as long as the process runs, also while it drains, and shares no state with
//! the work except the readiness flag.

use crate::metrics;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::net::TcpListener;

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

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.get() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
