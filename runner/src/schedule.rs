//! The schedule trigger's way in: `POST /schedule` with a Scheduled Event.
//!
//! Whoever keeps the clock posts the event until it is answered 200, which is after the outcome
//! is durable. One at a time: the next firing comes after this one's outcome. An event that is
//! posted again after its outcome, by a clock that took over from another, is not fired twice.

use crate::{
    event::ScheduledEvent,
    failure::Failure,
    output::Sink,
    pipeline::{Pipeline, Unsettled},
    record::Record,
    retry,
    stats::Counted,
    turn::Turn,
};
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use bytes::Bytes;
use chrono::DateTime;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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

impl<S: Sink> Pipeline<S> {
    /// Delivers one firing of a schedule.
    ///
    /// # Errors
    /// When it stopped before the outcome was durable.
    pub async fn settle_schedule(&self, event: &ScheduledEvent, stop: &CancellationToken) -> Result<(), Unsettled> {
        let turn = Turn::default();
        let route = &self.route(&turn);
        let payload = Bytes::from(serde_json::to_vec(event).expect("the event is JSON"));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.answer(|| payload.clone(), &[], stop).await? {
                Err(failure) => failure,
                Ok(answer) => match route.produce(&answer.outputs, stop).await? {
                    Ok(()) => break,
                    Err(refused) => Failure::new("OutputRefused", refused),
                },
            };
            if attempts < self.plan.retry.attempts {
                warn!(attempts, reason = failure.message, "attempt failed, will retry");
                route.turn.rest(self.pause(attempts, retry::ANY), stop).await?;
                continue;
            }
            // Named by when it was due: each firing is another record, and the same one after a restart.
            let due = DateTime::parse_from_rfc3339(&event.time).map_or(0, |time| time.timestamp());
            let record = Record {
                topic: self.plan.name.as_str().into(),
                offset: due,
                timestamp: due * 1_000,
                value: Some(payload),
                ..Record::default()
            };
            self.give_up(route, vec![(record, failure)], attempts, stop).await?;
            return Ok(());
        }
        route.tally.count(Counted::Settled, 1);
        Ok(())
    }
}
