//! The AWS Lambda Runtime API (`2018-06-01`) for one function process.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. Each process has a listener
//! of its own, so that a call needs no credentials to be known as its. A process that takes
//! several invocations at once has a slot for each.

use crate::{
    invocation::{Complaint, InFlight, LARGEST_ANSWER, Reply, State},
    pool::{Job, Queue},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, Path, State as Extract},
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The slots of one process; there is at least one.
pub struct Slots {
    /// One for each invocation that it may have in flight.
    pub all: Vec<Arc<Slot>>,
    /// Where its last call came from.
    pub caller: watch::Sender<Option<SocketAddr>>,
}

/// One invocation at a time, and what the process's supervisor is told of it.
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
    /// A call waits for work.
    pub waiting: bool,
    /// It said that it could not start.
    pub init_failed: bool,
    /// When the invocation in flight must have been answered.
    pub deadline: Option<Instant>,
}

/// The API's routes for one process; serve them with the caller's address.
pub fn routes(slots: Arc<Slots>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .fallback(unknown_path)
        // One byte above the limit is enough to know that an answer is too large; more is
        // read and refused by the state machine, which knows whose answer it is.
        .layer(DefaultBodyLimit::max(LARGEST_ANSWER * 8))
        .with_state(slots)
}

async fn next(Extract(slots): Extract<Arc<Slots>>, ConnectInfo(caller): ConnectInfo<SocketAddr>) -> Response {
    slots.called_by(caller);
    let slot = match slots.ask() {
        Ok(slot) => slot,
        Err(reply) => return reply.into_response(),
    };
    let _waiting = Waiting::begin(slot);
    let job = tokio::select! {
        biased;
        () = slot.ended.cancelled() => None,
        job = slot.queue.take() => job,
    };
    let Some(job) = job else {
        // No more work: the process is about to be ended.
        return std::future::pending().await;
    };
    let Job { id, payload, timeout, outcome, .. } = job;
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

async fn response(Extract(slots): Extract<Arc<Slots>>, Path(id): Path<String>, body: Bytes) -> Reply {
    let slot = slots.of(&id);
    let reply = slot.state.lock().response(&id, body);
    slot.answered(&reply);
    reply
}

async fn error(Extract(slots): Extract<Arc<Slots>>, Path(id): Path<String>, body: Bytes) -> Reply {
    let slot = slots.of(&id);
    let reply = slot.state.lock().error(&id, complaint(&body));
    slot.answered(&reply);
    reply
}

async fn init_error(
    Extract(slots): Extract<Arc<Slots>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Reply {
    slots.called_by(caller);
    let slot = &slots.all[0];
    let reply = slot.state.lock().init_error(&complaint(&body));
    if reply == Reply::Accepted {
        slot.progress.send_modify(|progress| progress.init_failed = true);
    }
    reply
}

async fn unknown_path() -> Response {
    let body = json!({"errorType": "NotFound", "errorMessage": "this is the Lambda Runtime API 2018-06-01; extensions, telemetry and restore are not offered"});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

impl Slots {
    fn called_by(&self, caller: SocketAddr) {
        self.caller.send_if_modified(|known| known.replace(caller) != Some(caller));
    }

    /// A slot that may be given work: one that no other call waits on, where there is one.
    fn ask(&self) -> Result<&Arc<Slot>, Reply> {
        let free = self.all.iter().filter(|slot| !slot.progress.borrow().waiting);
        let taken = self.all.iter().filter(|slot| slot.progress.borrow().waiting);
        let mut refused = Reply::WrongState;
        for slot in free.chain(taken) {
            match slot.state.lock().ask() {
                Ok(()) => return Ok(slot),
                Err(reply) => refused = reply,
            }
        }
        Err(refused)
    }

    /// The slot that has the invocation in flight; else one that knows what is wrong with the call.
    fn of(&self, id: &str) -> &Arc<Slot> {
        let busy_with = |slot: &&Arc<Slot>| slot.state.lock().request_id() == Some(id);
        let busy = |slot: &&Arc<Slot>| slot.state.lock().request_id().is_some();
        self.all.iter().find(busy_with).or_else(|| self.all.iter().find(busy)).unwrap_or(&self.all[0])
    }
}

/// Marks the slot as waited on until it is dropped, with the call.
struct Waiting<'a>(&'a Slot);

impl<'a> Waiting<'a> {
    fn begin(slot: &'a Slot) -> Self {
        slot.progress.send_if_modified(|progress| {
            progress.waiting = true;
            !std::mem::replace(&mut progress.asked, true)
        });
        Self(slot)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.progress.send_if_modified(|progress| {
            progress.waiting = false;
            false
        });
    }
}

impl Slot {
    /// A slot of a process that has just been started.
    #[must_use]
    pub fn new(queue: Queue, function: &str) -> (Arc<Self>, watch::Receiver<Progress>) {
        let (progress, changes) = watch::channel(Progress::default());
        let slot = Self {
            state: Mutex::new(State::Initializing),
            progress,
            ended: CancellationToken::new(),
            queue,
            arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{function}"),
        };
        (Arc::new(slot), changes)
    }

    fn answered(&self, reply: &Reply) {
        if matches!(reply, Reply::Accepted | Reply::TooLarge) {
            self.progress.send_modify(|progress| progress.deadline = None);
        }
    }
}

/// The most of `errorType` that is kept, in bytes.
pub const LONGEST_KIND: usize = 256;
/// The most of `errorMessage` that is kept, in bytes: it becomes a header of a dead letter, which
/// must fit beside the record.
pub const LONGEST_MESSAGE: usize = 4096;

/// The text, or its beginning where it is longer than `most` bytes.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - '…'.len_utf8()));
        text.push('…');
    }
    text
}

/// The error body that runtimes send; anything else is kept as the message.
fn complaint(body: &[u8]) -> Complaint {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        error_message: Option<String>,
        error_type: Option<String>,
    }
    let form = serde_json::from_slice(body).unwrap_or_else(|_not_json| Form {
        error_message: Some(String::from_utf8_lossy(&body[..body.len().min(LONGEST_MESSAGE)]).into_owned()),
        error_type: None,
    });
    Complaint {
        kind: cut(form.error_type.unwrap_or_else(|| "FunctionError".to_owned()), LONGEST_KIND),
        message: cut(form.error_message.unwrap_or_default(), LONGEST_MESSAGE),
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
