//! What waits to be written to one client.
//!
//! Putting something in never waits. The memory is bounded: beyond [`SOFT_LIMIT`] messages a
//! newer value takes the place of the older one of its key, so that what waits is at most the
//! limit plus one value a key; events, which nothing may replace, close the client beyond
//! [`EVENT_LIMIT`], and messages of the protocol beyond [`TEXT_LIMIT`], which a client does not
//! come to by what it says: its session reads no more beyond [`ANSWER_LIMIT`]. Of every keyed value that was put in, the client gets it or finds it counted
//! in `skipped`.

use crate::message::{Kind, Update};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio_websockets::CloseCode;

/// Messages that wait before keyed ones are conflated.
pub const SOFT_LIMIT: usize = 64;

/// Events that wait before the client is closed.
pub const EVENT_LIMIT: usize = 256;

/// Messages of the protocol that wait before nothing more is read from the client.
pub const ANSWER_LIMIT: usize = 64;

/// Messages of the protocol that wait before the client is closed: several for each of the
/// channels that it may listen to.
pub const TEXT_LIMIT: usize = 4096;

/// One thing for the client.
#[derive(Debug)]
pub enum Outgoing {
    /// A message of a channel, or of the protocol itself when there is no kind.
    Frame(Option<Kind>, Bytes),
    /// The end: tell, then close.
    Close(Close),
}

/// How and why a client is closed.
#[derive(Clone, Debug)]
pub struct Close {
    /// WebSocket close code.
    pub code: CloseCode,
    /// Close reason, at most 123 bytes.
    pub reason: &'static str,
    /// When the client should come back, in ms.
    pub retry_after_ms: u32,
}

/// The queue between the hub and one session.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Item>,
    events: usize,
    texts: usize,
    close: Option<Close>,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Item {
    Update(Arc<Update>, u32),
    /// Shared by everyone who subscribed since the channel changed; read from the given index on.
    Snapshot(Arc<[Arc<Update>]>, usize),
    Text(Bytes),
}

impl Mailbox {
    /// Puts in a channel's message; answers how many older ones it took the place of.
    pub fn push(&self, update: &Arc<Update>) -> u32 {
        let mut inner = self.0.lock();
        if inner.closed {
            return 0;
        }
        if update.kind.is_keyed() {
            if inner.queue.len() >= SOFT_LIMIT {
                return inner.conflate(update);
            }
        } else if inner.events >= EVENT_LIMIT {
            inner.too_slow("too slow: 256 events behind; reconnect to go on");
            return 0;
        } else {
            inner.events += 1;
        }
        inner.put(Item::Update(Arc::clone(update), 0));
        0
    }

    /// Puts in what a channel holds already.
    pub fn push_snapshot(&self, updates: Arc<[Arc<Update>]>) {
        if !updates.is_empty() {
            self.0.lock().put(Item::Snapshot(updates, 0));
        }
    }

    /// Puts in a message of the protocol.
    pub fn push_text(&self, text: Bytes) {
        let mut inner = self.0.lock();
        if inner.closed {
            return;
        }
        if inner.texts >= TEXT_LIMIT {
            inner.too_slow("too slow: 4096 notices behind; reconnect to go on");
            return;
        }
        inner.texts += 1;
        inner.put(Item::Text(text));
    }

    /// Whether so many answers wait that the client should first take them.
    pub fn has_many_answers(&self) -> bool {
        self.0.lock().texts >= ANSWER_LIMIT
    }

    /// Ends the mailbox: what waits is still given out, then `close`.
    pub fn close(&self, close: Close) {
        self.0.lock().close(close);
    }

    /// The next thing to write, oldest first. Only one task may wait.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Outgoing> {
        let mut inner = self.0.lock();
        if let Some(frame) = inner.pop() {
            return Poll::Ready(frame);
        }
        if let Some(close) = inner.close.take() {
            return Poll::Ready(Outgoing::Close(close));
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Inner {
    fn put(&mut self, item: Item) {
        if self.closed {
            return;
        }
        self.queue.push_back(item);
        self.wake();
    }

    fn close(&mut self, close: Close) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.close = Some(close);
        self.wake();
    }

    /// Forgets what waits and ends.
    fn too_slow(&mut self, reason: &'static str) {
        self.queue = VecDeque::new();
        (self.events, self.texts) = (0, 0);
        self.close(Close { code: CloseCode::SERVICE_OVERLOAD, reason, retry_after_ms: 1000 });
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Puts `update` in the place of the newest one of its key, at the end of the queue. Where
    /// the one that waits is of a later rank, it is the one that stays.
    fn conflate(&mut self, update: &Arc<Update>) -> u32 {
        let same_key = |item: &Item| matches!(item, Item::Update(waiting, _) if waiting.key == update.key);
        let Some(index) = self.queue.iter().rposition(same_key) else {
            self.put(Item::Update(Arc::clone(update), 0));
            return 0;
        };
        if let Some(Item::Update(waiting, more)) = self.queue.remove(index) {
            let (kept, replaced) = if waiting.rank > update.rank { (&waiting, update) } else { (update, &waiting) };
            let more = more.saturating_add(replaced.skipped).saturating_add(1);
            self.put(Item::Update(Arc::clone(kept), more));
        }
        1
    }

    fn pop(&mut self) -> Option<Outgoing> {
        let (kind, frame) = match self.queue.pop_front()? {
            Item::Text(text) => {
                self.texts -= 1;
                (None, text)
            }
            Item::Update(update, more) => {
                if !update.kind.is_keyed() {
                    self.events -= 1;
                }
                (Some(update.kind), update.frame(more))
            }
            Item::Snapshot(updates, index) => {
                let (kind, frame) = (updates[index].kind, updates[index].first_frame());
                if index + 1 < updates.len() {
                    self.queue.push_front(Item::Snapshot(updates, index + 1));
                }
                (Some(kind), frame)
            }
        };
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(Outgoing::Frame(kind, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWER_LIMIT, EVENT_LIMIT, Mailbox, Outgoing, SOFT_LIMIT, TEXT_LIMIT};
    use crate::{
        message::{Body, Key, Kind, Update},
        position::{Epoch, Position},
    };
    use proptest::prelude::*;
    use std::{
        collections::HashMap,
        sync::Arc,
        task::{Context, Poll, Waker},
    };

    fn price(channel: u64, ms: i64) -> Arc<Update> {
        let time = chrono::DateTime::from_timestamp_millis(ms).expect("in range").to_rfc3339();
        let json = format!(r#"{{"symbol":"S{channel}","timestamp":"{time}","ms":{ms}}}"#);
        update(Kind::Price, channel, &json)
    }

    fn update(kind: Kind, channel: u64, json: &str) -> Arc<Update> {
        let body = Body::parse(kind, json.as_bytes().to_vec()).expect("a body");
        let position = Position::new(&Epoch::from("e"), []);
        Arc::new(Update::encode(kind, Key { channel, item: body.item }, "c", &body, &position, 0))
    }

    fn drain(mailbox: &Mailbox) -> Vec<Outgoing> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match mailbox.poll_next(&mut cx) {
            Poll::Ready(outgoing) => Some(outgoing),
            Poll::Pending => None,
        })
        .collect()
    }

    fn json(outgoing: &Outgoing) -> serde_json::Value {
        let Outgoing::Frame(_, frame) = outgoing else { panic!("expected a frame, got {outgoing:?}") };
        serde_json::from_slice(frame).expect("a frame is JSON")
    }

    proptest! {
        #[test]
        fn every_value_is_given_or_counted_and_the_latest_is_given_last(channels in prop::collection::vec(0u64..5, 0..400)) {
            let mailbox = Mailbox::default();
            let mut put = HashMap::<u64, (u64, i64)>::new();
            for (ms, channel) in channels.into_iter().enumerate() {
                let ms = i64::try_from(ms).expect("small");
                mailbox.push(&price(channel, ms));
                let entry = put.entry(channel).or_default();
                *entry = (entry.0 + 1, ms);
            }
            let waiting = drain(&mailbox);
            prop_assert!(waiting.len() <= SOFT_LIMIT + 5);
            let mut got = HashMap::<u64, (u64, i64)>::new();
            for message in waiting.iter().map(json) {
                let channel = message["symbol"].as_str().expect("a symbol")[1..].parse().expect("a number");
                let entry = got.entry(channel).or_default();
                let ms = message["ms"].as_i64().expect("a number");
                prop_assert!(entry.0 == 0 || entry.1 < ms, "out of order");
                *entry = (entry.0 + 1 + message["skipped"].as_u64().unwrap_or(0), ms);
            }
            prop_assert_eq!(got, put);
        }
    }

    #[test]
    fn a_late_price_does_not_replace_a_newer_one() {
        let mailbox = Mailbox::default();
        for ms in 0..=SOFT_LIMIT {
            mailbox.push(&price(1, i64::try_from(ms).expect("small")));
        }
        mailbox.push(&price(1, 3));
        let last = drain(&mailbox).pop().expect("messages wait");
        assert_eq!(json(&last)["ms"], SOFT_LIMIT);
        assert_eq!(json(&last)["skipped"], 2);
    }

    #[test]
    fn events_are_never_replaced_and_too_many_end_it() {
        let mailbox = Mailbox::default();
        let article = update(Kind::Article, 1, r#"{"articleId":"x"}"#);
        for _ in 0..EVENT_LIMIT {
            mailbox.push(&article);
        }
        assert_eq!(drain(&mailbox).len(), EVENT_LIMIT);
        for _ in 0..=EVENT_LIMIT {
            mailbox.push(&article);
        }
        mailbox.push_text("after the end".into());
        let rest = drain(&mailbox);
        assert!(matches!(rest.as_slice(), [Outgoing::Close(close)] if u16::from(close.code) == 1013), "{rest:?}");
    }

    #[test]
    fn notices_are_bounded_too() {
        let mailbox = Mailbox::default();
        for _ in 0..ANSWER_LIMIT {
            assert!(!mailbox.has_many_answers());
            mailbox.push_text("notice".into());
        }
        assert!(mailbox.has_many_answers());
        assert_eq!(drain(&mailbox).len(), ANSWER_LIMIT);
        assert!(!mailbox.has_many_answers());
        for _ in 0..=TEXT_LIMIT {
            mailbox.push_text("notice".into());
        }
        let rest = drain(&mailbox);
        assert!(matches!(rest.as_slice(), [Outgoing::Close(close)] if u16::from(close.code) == 1013), "{rest:?}");
    }

    #[test]
    fn a_snapshot_comes_in_order_before_what_follows() {
        let mailbox = Mailbox::default();
        mailbox.push_snapshot([price(1, 1), price(1, 2)].into());
        mailbox.push(&price(1, 3));
        let times: Vec<_> = drain(&mailbox).iter().map(|outgoing| json(outgoing)["ms"].clone()).collect();
        assert_eq!(times, [1, 2, 3]);
    }
}
