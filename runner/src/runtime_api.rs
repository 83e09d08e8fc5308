//! The AWS Lambda Runtime API (`2018-06-01`) for a function.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>. Each process that the runner starts has a
//! listener of its own, so that a call needs no credentials to be known as its. A container has one listener
//! with a slot for each invocation that it may have in flight, in one process or in several.

use crate::{
    failure::Failure,
    invocation::{InFlight, LARGEST_ANSWER, Reply, Sent, State},
    pool::{Job, Queue},
    refused, response,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, DefaultBodyLimit, Path, State as Extract},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long a process that has said that it cannot start may take to end by itself.
pub const INIT_ERROR: Duration = Duration::from_secs(1);
/// How long an invocation whose answer was cut off may still end with its process.
const CUT_OFF: Duration = Duration::from_secs(1);

/// The slots behind a listener; there is at least one.
pub struct Slots {
    /// One for each invocation that may be in flight.
    pub all: Vec<Arc<Slot>>,
}

/// One invocation at a time, and what the process's supervisor is told of it.
pub struct Slot {
    /// The state machine.
    pub state: Mutex<State>,
    /// What the supervisor acts on.
    pub progress: watch::Sender<Progress>,
    /// Cancelled when the process has ended, so that a call it left behind takes no more work.
    pub ended: CancellationToken,
    /// The call that waits for work, or was the last to: a later one takes its place.
    call: Mutex<CancellationToken>,
    /// Where work comes from.
    pub queue: Queue,
    /// The ARN the function is told.
    pub arn: String,
    /// The request id that was handed out last: what is printed after it is taken to be about it.
    pub latest: Mutex<Option<String>>,
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
    /// Where the last call for work came from.
    pub caller: Option<SocketAddr>,
    /// There is to be no other call.
    pub retired: bool,
}

/// The API's routes for one process; serve them with the caller's address.
pub fn routes(slots: Arc<Slots>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(answer))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .fallback(refused::call)
        // Of errors; answers are read by `response`.
        .layer(DefaultBodyLimit::max(LARGEST_ANSWER * 8))
        .with_state(slots)
}

async fn next(Extract(slots): Extract<Arc<Slots>>, ConnectInfo(caller): ConnectInfo<SocketAddr>) -> Response {
    let slot = match slots.ask(caller) {
        Ok(slot) => slot,
        Err(reply) => return reply.into_response(),
    };
    let waiting = Waiting::begin(slot, caller);
    let job = tokio::select! {
        biased;
        () = slot.ended.cancelled() => None,
        () = waiting.replaced.cancelled() => return Reply::WrongState.into_response(),
        job = slot.queue.take() => job,
    };
    let Some(job) = job else {
        // No more work: the process is about to be ended.
        return std::future::pending().await;
    };
    let Job { id, payload, timeout, outcome } = job;
    let deadline = SystemTime::now() + timeout;
    let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let since = std::time::Instant::now();
    if !slot.state.lock().hand_out(InFlight { id: id.clone(), since, outcome, cut_off: None }) {
        return Reply::WrongState.into_response();
    }
    *slot.latest.lock() = Some(id.clone());
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

async fn answer(Extract(slots): Extract<Arc<Slots>>, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Reply {
    let Some(slot) = slots.of(&id) else {
        drop(response::receive(&headers, body).await);
        return Reply::UnknownRequest;
    };
    let mut receiving = Receiving { slot: slot.clone(), id, sent: Some(Sent::CutOff("no more came".to_owned())) };
    let mode = headers.get(response::MODE).map(HeaderValue::as_bytes);
    let sent = match mode {
        None | Some(b"streaming" | b"buffered") => response::receive(&headers, body).await,
        Some(mode) => {
            let message = format!("the response mode is {:?}: expected streaming", String::from_utf8_lossy(mode));
            receiving.end(Sent::Failed(Failure::new("Runtime.InvalidResponseModeHeader", message)));
            return Reply::UnknownMode;
        }
    };
    receiving.end(sent)
}

/// An answer that is being read: however the call ends, its invocation does too.
struct Receiving {
    slot: Arc<Slot>,
    id: String,
    /// What is told of a call that is dropped with its connection.
    sent: Option<Sent>,
}

impl Receiving {
    fn end(&mut self, sent: Sent) -> Reply {
        self.sent = None;
        let cut_off = matches!(sent, Sent::CutOff(_));
        let reply = self.slot.state.lock().response(&self.id, sent);
        if !cut_off {
            self.slot.answered(&reply);
        } else if reply == Reply::Accepted {
            warn!(request_id = self.id, "an answer was cut off");
            let (slot, id) = (self.slot.clone(), std::mem::take(&mut self.id));
            tokio::spawn(async move {
                tokio::time::sleep(CUT_OFF).await;
                let mut state = slot.state.lock();
                if state.request_id() == Some(id.as_str()) {
                    slot.give_up(&mut state);
                }
            });
        }
        reply
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.end(sent);
        }
    }
}

async fn error(Extract(slots): Extract<Arc<Slots>>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Reply {
    let Some(slot) = slots.of(&id) else { return Reply::UnknownRequest };
    let reply = slot.state.lock().error(&id, response::error(&headers, &body));
    slot.answered(&reply);
    reply
}

async fn init_error(
    Extract(slots): Extract<Arc<Slots>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let slot = slots.beginning();
    let reply = slot.state.lock().init_error(&response::error(&headers, &body));
    if reply == Reply::Accepted {
        slot.progress.send_modify(|progress| {
            progress.init_failed = true;
            progress.caller = Some(caller);
        });
    }
    reply
}

impl Slots {
    /// A slot that may be given work: the caller's own where that is free, else one that no call waits on, else
    /// one whose call is given up.
    fn ask(&self, caller: SocketAddr) -> Result<&Arc<Slot>, Reply> {
        let mut all: Vec<_> = self.all.iter().collect();
        if all.len() > 1 {
            all.sort_by_key(|slot| {
                let progress = slot.progress.borrow();
                (progress.waiting, progress.caller != Some(caller))
            });
        }
        let mut refused = Reply::WrongState;
        for slot in all {
            match slot.ask() {
                Ok(()) => return Ok(slot),
                Err(reply) => refused = reply,
            }
        }
        Err(refused)
    }

    /// The slot that has the invocation in flight, or was the last to have it.
    fn of(&self, id: &str) -> Option<&Arc<Slot>> {
        let busy_with = |slot: &&Arc<Slot>| slot.state.lock().request_id() == Some(id);
        let had = |slot: &&Arc<Slot>| slot.latest.lock().as_deref() == Some(id);
        self.all.iter().find(busy_with).or_else(|| self.all.iter().find(had))
    }

    /// A slot whose process has not asked for work yet, where there is one.
    fn beginning(&self) -> &Arc<Slot> {
        let begins = |slot: &&Arc<Slot>| matches!(*slot.state.lock(), State::Initializing);
        self.all.iter().find(begins).unwrap_or(&self.all[0])
    }
}

/// Marks the slot as waited on until it is dropped, with the call.
struct Waiting<'a> {
    slot: &'a Slot,
    /// Cancelled when a later call waits in place of this one.
    replaced: CancellationToken,
}

impl<'a> Waiting<'a> {
    fn begin(slot: &'a Slot, caller: SocketAddr) -> Self {
        let replaced = CancellationToken::new();
        std::mem::replace(&mut *slot.call.lock(), replaced.clone()).cancel();
        slot.progress.send_if_modified(|progress| {
            progress.waiting = true;
            let known = progress.caller.replace(caller) == Some(caller);
            !std::mem::replace(&mut progress.asked, true) || !known
        });
        Self { slot, replaced }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.replaced.is_cancelled() {
            self.slot.progress.send_if_modified(|progress| {
                progress.waiting = false;
                false
            });
        }
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
            call: Mutex::default(),
            queue,
            arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{function}"),
            latest: Mutex::default(),
        };
        (Arc::new(slot), changes)
    }

    /// The process is to end what it has, and to have no more; answers whether it has nothing.
    pub fn retire(&self) -> bool {
        self.progress.send_if_modified(|progress| {
            progress.retired = true;
            false
        });
        self.state.lock().retire()
    }

    /// Whoever asks for work has nothing in flight: what was cut off is given up.
    fn ask(&self) -> Result<(), Reply> {
        if self.progress.borrow().retired {
            return Err(Reply::WrongState);
        }
        let mut state = self.state.lock();
        self.give_up(&mut state);
        state.ask()
    }

    /// Under the state's lock, so that the deadline is not that of the next invocation.
    fn give_up(&self, state: &mut State) {
        if state.give_up() {
            self.progress.send_modify(|progress| progress.deadline = None);
        }
    }

    fn answered(&self, reply: &Reply) {
        if matches!(reply, Reply::Accepted | Reply::TooLarge) {
            self.progress.send_modify(|progress| progress.deadline = None);
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
            Self::UnknownMode => {
                (StatusCode::BAD_REQUEST, "InvalidFunctionResponseMode", "the response mode is not streaming")
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "the answer is larger than 6 MiB")
            }
        };
        (status, Json(json!({"errorType": kind, "errorMessage": message}))).into_response()
    }
}
