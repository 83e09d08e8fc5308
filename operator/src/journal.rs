//! `/debug/scaling`: the last looks at a function and what was decided on each, so that
//! `tidemill autoscaler replay` can decide them again.

use crate::load::Loads;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
struct Asked {
    function: Option<String>,
}

/// The route; without `?function=` it lists the functions whose looks are kept.
pub fn route(loads: Arc<Loads>) -> Router {
    Router::new().route("/debug/scaling", get(tell).with_state(loads))
}

async fn tell(State(loads): State<Arc<Loads>>, Query(asked): Query<Asked>) -> Response {
    let Some(function) = asked.function else {
        let mut functions = loads.journals();
        functions.sort_unstable();
        return Json(functions).into_response();
    };
    let Some(lines) = loads.journal(&function) else {
        let text = format!(
            "no looks at {function} are kept: name it as namespace/name; looks are kept while it has lag or replicas, and ten minutes longer, by the operator that holds the Lease\n"
        );
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line).expect("a line is JSON"));
        text.push('\n');
    }
    ([("content-type", "application/x-ndjson")], text).into_response()
}
