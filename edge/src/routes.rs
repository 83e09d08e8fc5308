//! Every route of the edge, and what applies to all of a group.

use crate::{
    health::{self, Health},
    origin, page,
    rest::{self, Rest},
    sockets::{self, Sockets},
};
use axum::{Json, Router, http::StatusCode, middleware};
use serde_json::json;
use std::time::Duration;
use tower_http::timeout::TimeoutLayer;

/// Longest time for an answer; a socket's is its handshake.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The edge's whole face.
pub fn all(sockets: Sockets, rest: Rest, health: Health, origins: origin::Allowed) -> Router {
    sockets::routes(sockets)
        .merge(rest::routes(rest))
        .layer(middleware::from_fn_with_state(origins, origin::check))
        .merge(health::routes(health))
        .merge(page::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, RESPONSE_TIMEOUT))
}

async fn not_found() -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::NOT_FOUND, Json(json!({"error": "there is nothing at this path"})))
}

async fn wrong_method() -> (StatusCode, Json<serde_json::Value>) {
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"error": "this path is only read: use GET"})))
}
