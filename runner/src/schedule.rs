//! The schedule trigger's way in: `POST /schedule` with a Scheduled Event.
//!
//! Whoever keeps the clock posts the event until it is answered 200, which is after the outcome
//! is durable. One at a time: the next firing comes after this one's outcome. An event that is
//! posted again after its outcome, by a clock that took over from another, is not fired twice.

use crate::{event::ScheduledEvent, output::Sink, pipeline::Pipeline};
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The route of a function with a schedule trigger.
pub fn route<S: Sink>(pipeline: Arc<Pipeline<S>>, stop: CancellationToken) -> Router {
    let clock = Arc::new(Clock { pipeline, stop, last: Mutex::new(None) });
    Router::new().route("/schedule", post(fire::<S>)).with_state(clock)
}

struct Clock<S> {
    pipeline: Arc<Pipeline<S>>,
    stop: CancellationToken,
    /// The id of the last event whose outcome is durable; held while one is fired.
    last: Mutex<Option<String>>,
}

/// A task of its own: whoever posts may go away, and what was begun is ended all the same.
async fn fire<S: Sink>(State(clock): State<Arc<Clock<S>>>, Json(event): Json<ScheduledEvent>) -> (StatusCode, String) {
    match tokio::spawn(settle(clock, event)).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn settle<S: Sink>(clock: Arc<Clock<S>>, event: ScheduledEvent) -> (StatusCode, String) {
    let mut last = clock.last.lock().await;
    if last.as_ref() == Some(&event.id) {
        return (StatusCode::OK, "done before\n".to_owned());
    }
    match clock.pipeline.settle_schedule(&event, &clock.stop).await {
        Ok(()) => {
            *last = Some(event.id);
            (StatusCode::OK, "done\n".to_owned())
        }
        Err(unsettled) => (StatusCode::SERVICE_UNAVAILABLE, format!("{unsettled}\n")),
    }
}
