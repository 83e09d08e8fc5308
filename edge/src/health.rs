//! Whether the edge lives, should be sent clients, and is well; and its metrics.

use crate::{admission::Admission, stats::Stats};
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use std::{future::ready, sync::Arc};

/// What is told.
#[derive(Clone)]
pub struct Health {
    /// Figures.
    pub stats: Arc<Stats>,
    /// Sockets.
    pub admission: Admission,
}

/// The routes.
pub fn routes(health: Health) -> Router {
    let metrics = tidemill_service::metrics::install();
    Router::new()
        .route("/health", get(report))
        .route("/ready", get(readiness))
        .with_state(health)
        .route("/live", get(|| async { "live\n" }))
        .route("/metrics", get(move || ready(metrics.render())))
}

async fn report(State(Health { stats, admission }): State<Health>) -> impl IntoResponse {
    let redis = stats.is_redis_up();
    let (status, word) = match (redis, stats.is_draining()) {
        (true, false) => (StatusCode::OK, "healthy"),
        (true, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let body = json!({
        "status": word,
        "redis": if redis { "connected" } else { "unreachable" },
        "connections": admission.taken(),
        "maxConnections": admission.limit(),
        "uptimeSeconds": stats.uptime().as_secs(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, Json(body))
}

async fn readiness(State(Health { stats, .. }): State<Health>) -> impl IntoResponse {
    if stats.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
