//! How many sockets there may be at once.
//!
//! A place is taken before the upgrade is answered and given back when the session is dropped, so
//! the count is never above the limit.

use crate::stats::Stats;
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The places.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Places>);

#[derive(Debug)]
struct Places {
    limit: u32,
    taken: AtomicU32,
    stats: Arc<Stats>,
}

/// One socket's place.
#[derive(Debug)]
pub struct Place(Arc<Places>);

/// All places are taken, or the edge is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many sockets as there may be.
    #[error("too many connections: come back later")]
    Limit,
    /// No new sockets any more.
    #[error("this edge is shutting down: connect again")]
    Draining,
}

impl Admission {
    /// `limit` places.
    pub fn new(limit: u32, stats: Arc<Stats>) -> Self {
        Self(Arc::new(Places { limit, taken: AtomicU32::new(0), stats }))
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self) -> Result<Place, Full> {
        let places = &self.0;
        if places.stats.is_draining() {
            return Err(Full::Draining);
        }
        let more = |taken| (taken < places.limit).then_some(taken + 1);
        if places.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            places.stats.refused.increment(1);
            return Err(Full::Limit);
        }
        places.stats.connections.increment(1.0);
        Ok(Place(Arc::clone(places)))
    }

    /// Places taken.
    pub fn taken(&self) -> u32 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// Places in all.
    pub fn limit(&self) -> u32 {
        self.0.limit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.stats.connections.decrement(1.0);
    }
}

impl IntoResponse for Full {
    fn into_response(self) -> Response {
        let seconds = match self {
            Self::Limit => "5",
            Self::Draining => "1",
        };
        let body = Json(json!({"error": self.to_string()}));
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds)], body).into_response()
    }
}
