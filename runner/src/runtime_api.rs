//! The AWS Lambda Runtime API (`2018-06-01`) for one function process.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. Each process has a listener
//! of its own, so that a call needs no credentials to be known as its.

use crate::{
    invocation::{Complaint, InFlight, LARGEST_ANSWER, Reply, State},
    pool::{Job, Queue},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State as Extract},
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// One process's state, and what its supervisor is told.
pub struct Slot {
    /// The state machine.
    pub state: Mutex<State>,
    /// What the supervisor acts on.
    pub progress: watch::Sender<Progress>,
    /// Cancelled when the process has ended, so that a call it left behind takes no more work.
    pub ended: CancellationToken,
    /// Where work comes from.
    pub queue: Queue,
    /// The ARN the function is told.
    pub arn: String,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// It has asked for work.
    pub asked: bool,
    /// When the invocation in flight must have been answered.
    pub deadline: Option<Instant>,
}

/// The API's routes for one process.
pub fn routes(slot: Arc<Slot>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .fallback(unknown_path)
        // One byte above the limit is enough to know that an answer is too large; more is
        // read and refused by the state machine, which knows whose answer it is.
        .layer(DefaultBodyLimit::max(LARGEST_ANSWER * 8))
        .with_state(slot)
}

async fn next(Extract(slot): Extract<Arc<Slot>>) -> Response {
    if let Err(reply) = slot.state.lock().ask() {
        return reply.into_response();
    }
    slot.progress.send_if_modified(|progress| !std::mem::replace(&mut progress.asked, true));
    let job = tokio::select! {
        biased;
        () = slot.ended.cancelled() => None,
        job = slot.queue.take() => job,
    };
    let Some(job) = job else {
        // No more work: the process is about to be ended.
        return std::future::pending().await;
    };
    let Job { id, payload, timeout, outcome } = job;
    let deadline = SystemTime::now() + timeout;
    let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    slot.state.lock().hand_out(InFlight { id: id.clone(), since: std::time::Instant::now(), outcome });
    slot.progress.send_modify(|progress| progress.deadline = Some(Instant::now() + timeout));
    debug!(request_id = id, bytes = payload.len(), "invocation handed out");
    let trace = format!("Root=1-{:08x}-{};Sampled=0", deadline_ms / 1000, &id.replace('-', "")[..24]);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", slot.arn.clone()),
        ("lambda-runtime-trace-id", trace),
    ];
    let mut response = Response::new(Body::from(payload));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(response.headers_mut().insert(HeaderName::from_static(name), value)),
            Err(error) => warn!(name, %error, "a header could not be sent"),
        }
    }
    response
}

async fn response(Extract(slot): Extract<Arc<Slot>>, Path(id): Path<String>, body: Bytes) -> Reply {
    let reply = slot.state.lock().response(&id, body);
    slot.answered(&reply);
    reply
}

async fn error(Extract(slot): Extract<Arc<Slot>>, Path(id): Path<String>, body: Bytes) -> Reply {
    let reply = slot.state.lock().error(&id, complaint(&body));
    slot.answered(&reply);
    reply
}

async fn init_error(Extract(slot): Extract<Arc<Slot>>, body: Bytes) -> Reply {
    slot.state.lock().init_error(&complaint(&body))
}

async fn unknown_path() -> Response {
    let body = json!({"errorType": "NotFound", "errorMessage": "this is the Lambda Runtime API 2018-06-01; extensions, telemetry and restore are not offered"});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

impl Slot {
    fn answered(&self, reply: &Reply) {
        if matches!(reply, Reply::Accepted | Reply::TooLarge) {
            self.progress.send_modify(|progress| progress.deadline = None);
        }
    }
}

/// The error body that runtimes send; anything else is kept as the message.
fn complaint(body: &[u8]) -> Complaint {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        error_message: Option<String>,
        error_type: Option<String>,
    }
    match serde_json::from_slice(body) {
        Ok(Form { error_message, error_type }) => Complaint {
            kind: error_type.unwrap_or_else(|| "FunctionError".to_owned()),
            message: error_message.unwrap_or_default(),
        },
        Err(_not_json) => {
            Complaint { kind: "FunctionError".to_owned(), message: String::from_utf8_lossy(body).into_owned() }
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Self::Accepted => return (StatusCode::ACCEPTED, Json(json!({"status": "OK"}))).into_response(),
            Self::UnknownRequest => {
                (StatusCode::BAD_REQUEST, "InvalidRequestID", "the request id is not the one in flight")
            }
            Self::WrongState => {
                (StatusCode::FORBIDDEN, "InvalidStateTransition", "this call is not allowed in the present state")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "the answer is larger than 6 MiB")
            }
        };
        (status, Json(json!({"errorType": kind, "errorMessage": message}))).into_response()
    }
}
