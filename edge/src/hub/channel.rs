//! One channel: what it holds, what it holds back, and who listens.
//!
//! What is held back for pace hasn't happened yet for anyone: a new subscriber's snapshot ends
//! with the last message that was sent, and the one held back follows for all alike.

use crate::{
    mailbox::Mailbox,
    message::{Body, Entry, Key, Kind, Update},
    pace::Pace,
    position::{Cursors, EntryId, Position, StreamName},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

/// Candles that a new subscriber gets first.
pub const CANDLES: usize = 200;

/// Articles that a new subscriber gets first.
pub const ARTICLES: usize = 20;

/// Entries kept while a channel's snapshot is being read.
const WAITING_LIMIT: usize = 10_000;

/// Who listens, by client number.
pub type Subscribers = HashMap<u64, Arc<Mailbox>>;

/// A channel.
#[derive(Debug)]
pub struct Channel {
    /// Number in the hub, never used twice.
    pub id: u64,
    /// Name in messages.
    pub name: Arc<str>,
    /// Who listens.
    pub subscribers: Subscribers,
    /// The stream that feeds it, once known.
    pub source: Option<StreamName>,
    kind: Kind,
    loading: Option<Loading>,
    /// Where the streams stood in the snapshot, until the feed has come that far.
    ahead: Option<Cursors>,
    stored: BTreeMap<i64, Arc<Update>>,
    snapshot: Option<Arc<[Arc<Update>]>>,
    pace: Option<Pace>,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Loading {
    ticket: u64,
    waiting: Vec<Entry>,
}

/// A message that waits for the channel's pace.
#[derive(Debug)]
pub struct Held {
    /// The stream it came from.
    pub stream: StreamName,
    /// Its id there.
    pub id: EntryId,
    body: Body,
    skipped: u32,
}

impl Channel {
    /// An empty channel; one with a pace is limited to it.
    pub fn new(id: u64, kind: Kind, name: Arc<str>, pace: Option<Pace>) -> Self {
        Self {
            id,
            name,
            subscribers: Subscribers::new(),
            source: None,
            kind,
            loading: None,
            ahead: None,
            stored: BTreeMap::new(),
            snapshot: None,
            pace,
            held: Vec::new(),
        }
    }

    /// Whether the snapshot is still being read.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether nobody would miss it.
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty() && (self.stored.is_empty() || self.kind == Kind::Candle)
    }

    /// Forgets everything but the subscribers, and waits for the snapshot that answers `ticket`.
    pub fn start_loading(&mut self, ticket: u64) {
        self.clear();
        self.loading = Some(Loading { ticket, waiting: Vec::new() });
    }

    /// Whether `ticket` is the last one given, and not answered yet.
    pub fn awaits(&self, ticket: u64) -> bool {
        self.loading.as_ref().is_some_and(|loading| loading.ticket == ticket)
    }

    /// Ends loading where `ticket` is the last one given; answers what came meanwhile. Entries up
    /// to `cursors`, where the snapshot stood, will be left out when they are offered.
    pub fn finish_loading(&mut self, ticket: u64, cursors: &Cursors) -> Option<Vec<Entry>> {
        let loading = self.loading.take_if(|loading| loading.ticket == ticket)?;
        self.ahead = Some(cursors.clone());
        Some(loading.waiting)
    }

    /// Forgets everything but the subscribers.
    pub fn clear(&mut self) {
        self.loading = None;
        self.ahead = None;
        self.stored.clear();
        self.snapshot = None;
        self.held.clear();
        self.source = None;
    }

    /// Takes an entry: answers the message to send at once, or the time from which
    /// [`Channel::release`] should be called.
    pub fn offer(&mut self, entry: Entry, now: Instant) -> Offer {
        if let Some(loading) = &mut self.loading {
            // Older than any snapshot that is still to come: reading one takes milliseconds.
            if loading.waiting.len() >= WAITING_LIMIT {
                loading.waiting.drain(..WAITING_LIMIT / 2);
            }
            loading.waiting.push(entry);
            return Offer::Later;
        }
        if let Some(ahead) = &self.ahead {
            if ahead.get(&entry.stream).is_some_and(|&stood| entry.id <= stood) {
                return Offer::Later;
            }
            self.ahead = None;
        }
        let Entry { stream, id, body, .. } = entry;
        let held = Held { stream, id, body, skipped: 0 };
        let Some(pace) = &mut self.pace else { return Offer::Send(held) };
        if !self.held.is_empty() {
            self.hold(held);
            return Offer::Later;
        }
        match pace.take(now) {
            Ok(()) => Offer::Send(held),
            Err(time) => {
                self.hold(held);
                Offer::At(time)
            }
        }
    }

    /// The oldest message held back, if its time has come.
    pub fn release(&mut self, now: Instant) -> Offer {
        if self.held.is_empty() {
            return Offer::Later;
        }
        match self.pace.as_mut().map_or(Ok(()), |pace| pace.take(now)) {
            Ok(()) => Offer::Send(self.held.remove(0)),
            Err(time) => Offer::At(time),
        }
    }

    /// Encodes and keeps a message; the hub sends it.
    pub fn encode(&mut self, held: Held, position: &Position) -> Arc<Update> {
        self.store(&held.body, position, held.skipped)
    }

    /// Encodes and keeps a body that everyone begins with.
    pub fn store(&mut self, body: &Body, position: &Position, skipped: u32) -> Arc<Update> {
        let key = Key { channel: self.id, item: body.item };
        let update = Arc::new(Update::encode(self.kind, key, &self.name, body, position, skipped));
        self.snapshot = None;
        let (slot, limit) = match self.kind {
            Kind::Price => (0, 1),
            Kind::Candle => (body.item, CANDLES),
            Kind::Article => (self.stored.last_key_value().map_or(0, |(last, _)| last + 1), ARTICLES),
        };
        if self.stored.get(&slot).is_none_or(|stored| stored.rank <= update.rank) {
            self.stored.insert(slot, Arc::clone(&update));
        }
        if self.stored.len() > limit {
            self.stored.pop_first();
        }
        update
    }

    /// What a new subscriber gets first, oldest first.
    pub fn snapshot(&mut self) -> Arc<[Arc<Update>]> {
        let stored = &self.stored;
        Arc::clone(self.snapshot.get_or_insert_with(|| stored.values().cloned().collect()))
    }

    /// What it holds, oldest first.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.stored.values()
    }

    fn hold(&mut self, mut new: Held) {
        match self.held.iter_mut().find(|held| held.body.item == new.body.item) {
            None => self.held.push(new),
            Some(held) => {
                new.skipped = held.skipped + 1;
                if held.body.rank > new.body.rank {
                    held.skipped = new.skipped;
                } else {
                    *held = new;
                }
            }
        }
    }
}

/// What became of an entry.
#[derive(Debug)]
pub enum Offer {
    /// Send it now.
    Send(Held),
    /// Ask again from this time on.
    At(Instant),
    /// Somebody is asked to ask already, or there is nothing.
    Later,
}
