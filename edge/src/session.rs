//! One client's socket: the only task there is for it.
//!
//! Nothing more is taken from the mailbox, and nothing more is read, until what was taken is
//! written; and nothing is read while many answers wait. So a client that doesn't read is held up
//! by itself, and costs one batch beside its mailbox, however much it says. One that says more
//! than its allowance is closed. A peer that is gone is noticed by the kernel (see `server`), not
//! by a timer here.

use crate::{
    allowance::Allowance,
    hub::Client,
    mailbox::{Close, Mailbox, Outgoing},
    request::{Refusal, Reply, Request},
    stats::Stats,
    upgrade::{MAX_MESSAGE, Socket},
};
use futures::{Sink, Stream};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_websockets::{CloseCode, Error, Message};
use tracing::debug;

/// Bytes taken from the mailbox before they are written.
const BATCH: usize = 32 * 1024;

/// Time for the last words, and for the peer to take them.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an endpoint does with its clients' requests.
pub trait Endpoint {
    /// Handles a request; answers through the client's mailbox.
    fn handle(&self, request: Request, client: &mut Client);
}

enum Event {
    Message(Message),
    Close(Close),
    /// The peer closed, or is gone.
    Ended,
    Failed(Error),
}

/// Serves `client` on `socket` until either side ends it.
pub async fn run(mut socket: Socket, mut client: Client, endpoint: impl Endpoint, stats: &Stats) {
    let mut unwritten = false;
    let mut allowance = Allowance::new(Instant::now());
    let close = loop {
        match poll_fn(|cx| poll_event(&mut socket, client.mailbox(), &mut unwritten, stats, cx)).await {
            Event::Message(message) if allowance.take(Instant::now()) => handle(&message, &mut client, &endpoint),
            Event::Message(_) => {
                break Some(Close {
                    code: CloseCode::POLICY_VIOLATION,
                    reason: "too many messages: a client may send 2000 at once and 100 a second",
                    retry_after_ms: 10_000,
                });
            }
            Event::Close(close) => break Some(close),
            Event::Ended => return,
            Event::Failed(Error::PayloadTooLong { .. }) => {
                break Some(Close {
                    code: CloseCode::MESSAGE_TOO_BIG,
                    reason: "a message may have 4096 bytes",
                    retry_after_ms: 0,
                });
            }
            Event::Failed(error) => {
                debug!(%error, "socket failed");
                break None;
            }
        }
    };
    drop(client);
    if tokio::time::timeout(FAREWELL, Box::pin(farewell(socket, close))).await.is_err() {
        debug!("peer took no leave");
    }
}

/// Writes what is unwritten, then takes from both sides in turn.
fn poll_event(
    socket: &mut Socket,
    mailbox: &Mailbox,
    unwritten: &mut bool,
    stats: &Stats,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    loop {
        if *unwritten {
            if let Err(error) = ready!(Pin::new(&mut *socket).poll_flush(cx)) {
                return Poll::Ready(Event::Failed(error));
            }
            *unwritten = false;
        }
        // Where answers wait, there is something to write below, and reading comes after it.
        if !mailbox.has_many_answers() {
            match Pin::new(&mut *socket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    // A ping or close was answered into the socket's own queue.
                    *unwritten = true;
                    return Poll::Ready(Event::Message(message));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Failed(error)),
                Poll::Ready(None) => return Poll::Ready(Event::Ended),
                Poll::Pending => {}
            }
        }
        let mut bytes = 0;
        while bytes < BATCH {
            match mailbox.poll_next(cx) {
                Poll::Ready(Outgoing::Frame(kind, frame)) => {
                    bytes += frame.len();
                    if let Some(kind) = kind {
                        stats.sent(kind).increment(1);
                    }
                    if let Err(error) = Pin::new(&mut *socket).start_send(Message::text(frame)) {
                        return Poll::Ready(Event::Failed(error));
                    }
                }
                Poll::Ready(Outgoing::Close(close)) => return Poll::Ready(Event::Close(close)),
                Poll::Pending => break,
            }
        }
        if bytes == 0 {
            return Poll::Pending;
        }
        *unwritten = true;
    }
}

fn handle(message: &Message, client: &mut Client, endpoint: &impl Endpoint) {
    let request = match message.as_text() {
        Some(text) => Request::parse(text),
        None if message.is_binary() => Err(Refusal::Binary),
        None => return,
    };
    match request {
        Ok(Request::Ping) => client.mailbox().push_text(Reply::Pong.encode()),
        Ok(request) => endpoint.handle(request, client),
        Err(refusal) => client.mailbox().push_text(Reply::Error { message: &refusal.to_string() }.encode()),
    }
}

/// Tells why, closes, and reads on until the peer has closed too: closing a TCP connection with
/// unread bytes resets it, and the peer would never see the reason.
async fn farewell(mut socket: Socket, close: Option<Close>) {
    if let Some(Close { code, reason, retry_after_ms }) = close {
        let notice = Reply::Closing { code: code.into(), reason, retry_after_ms }.encode();
        let words = [Message::text(notice), Message::close(Some(code), reason)];
        for message in words {
            // The library has closed already where the peer broke the protocol.
            if let Err(error) = Pin::new(&mut socket).start_send(message) {
                debug!(%error, "nothing more can be said");
                break;
            }
        }
    }
    if let Err(error) = poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx)).await {
        debug!(%error, "socket failed while closing");
        return;
    }
    let mut io = socket.into_inner();
    if let Err(error) = io.shutdown().await {
        debug!(%error, "socket failed while closing");
        return;
    }
    let mut rest = [0; MAX_MESSAGE];
    while io.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
}
