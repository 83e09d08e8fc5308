//! Channels and their subscribers: every message passes here once, in stream order.
//!
//! One lock covers a subscriber's snapshot and its registration, so nothing falls between them.
//! Under that lock nothing waits and nothing is written to a socket.

mod channel;
mod client;

use crate::{
    mailbox::{Close, Mailbox},
    message::{Body, Entry, Kind, Update},
    pace::Pace,
    position::{Cursors, EntryId, Epoch, Position, StreamName},
    stats::Stats,
};
use bytes::Bytes;
pub use channel::{ARTICLES, CANDLES};
use channel::{Channel, Held, Offer, Subscribers};
pub use client::{ALL_PRICES, Client, Topic};
use parking_lot::Mutex;
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
    time::Instant,
};
use tokio::sync::Notify;
use tracing::warn;

/// The channel of all articles.
pub const ARTICLES_CHANNEL: &str = "articles";

/// What Redis holds at one instant.
#[derive(Debug)]
pub struct Load {
    /// The life of the ids.
    pub epoch: Epoch,
    /// The last entry of each stream at that instant.
    pub cursors: Cursors,
    /// What each stream carries, where its last entry says so.
    pub kinds: BTreeMap<StreamName, Kind>,
    /// Messages to begin with: the channel and the body, oldest first.
    pub bodies: BTreeMap<Kind, Vec<(String, Body)>>,
}

/// Leave to load a candle channel; a later one for the same channel makes it void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The channel, `SYMBOL:interval` or `SYMBOL@exchange:interval`.
    pub channel: Arc<str>,
    number: u64,
}

/// What became of a candle channel's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// The subscribers have it, or nobody waits for it any more.
    Done,
    /// Redis began anew and the feed hasn't noticed yet: load again.
    WrongEpoch,
}

/// All channels of this process.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
    held_back: Notify,
    stats: Arc<Stats>,
}

#[derive(Debug)]
struct State {
    rate: u32,
    streams: Streams,
    channels: HashMap<Kind, HashMap<Arc<str>, Channel>>,
    all_prices: Subscribers,
    all_prices_snapshot: Option<Arc<[Arc<Update>]>>,
    clients: HashMap<u64, Arc<Mailbox>>,
    /// When a channel that holds something back may speak, by kind and name.
    due: BinaryHeap<Reverse<(Instant, Kind, Arc<str>)>>,
    next: u64,
}

/// How far the streams have been taken.
#[derive(Debug, Default)]
struct Streams {
    epoch: Option<Epoch>,
    cursors: Cursors,
    kinds: BTreeMap<StreamName, Kind>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Notice<'a> {
    /// What the channel held has been sent; from here on it is live.
    Subscribed { channel: &'a str, position: Option<Position> },
    /// Positions so far are void; snapshots follow.
    Reset { reason: &'a str, epoch: &'a Epoch },
}

impl Notice<'_> {
    fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("a notice can be written as JSON").into()
    }
}

impl Hub {
    /// A hub without channels, where one of prices or candles sends `rate` messages a second at
    /// most.
    pub fn new(rate: u32, stats: Arc<Stats>) -> Arc<Self> {
        let mut state = State {
            rate,
            streams: Streams::default(),
            channels: Kind::ALL.into_iter().map(|kind| (kind, HashMap::new())).collect(),
            all_prices: Subscribers::new(),
            all_prices_snapshot: None,
            clients: HashMap::new(),
            due: BinaryHeap::new(),
            next: 0,
        };
        state.channel(Kind::Article, ARTICLES_CHANNEL);
        Arc::new(Self { state: Mutex::new(state), held_back: Notify::new(), stats })
    }

    /// Begins with, or begins anew with, what Redis holds. Clients that listen already are told
    /// `reason` and get their snapshots. Answers the candle channels to load.
    pub fn load(&self, load: Load, reason: Option<&str>) -> Vec<Ticket> {
        let mut state = self.state.lock();
        state.streams = Streams { epoch: Some(load.epoch.clone()), cursors: load.cursors, kinds: load.kinds };
        state.all_prices_snapshot = None;
        for channel in state.channels.values_mut().flat_map(HashMap::values_mut) {
            channel.clear();
        }
        for (kind, bodies) in load.bodies {
            let Some(position) = state.streams.position(kind, None) else { continue };
            for (name, body) in bodies {
                state.channel(kind, &name).store(&body, &position, 0);
            }
        }
        if let Some(reason) = reason {
            state.tell_subscribers(&Notice::Reset { reason, epoch: &load.epoch }.encode());
        }
        state.send_snapshots();
        state.candle_tickets()
    }

    /// Takes what the candle channel of `ticket` held when `streams` stood as given.
    pub fn load_candles(&self, ticket: &Ticket, epoch: &Epoch, cursors: &Cursors, candles: &[Body]) -> Loaded {
        let mut state = self.state.lock();
        if state.streams.epoch.as_ref() != Some(epoch) {
            return Loaded::WrongEpoch;
        }
        let of_kind = cursors.iter().filter(|(stream, _)| state.streams.kinds.get(*stream) == Some(&Kind::Candle));
        let position = Position::new(epoch, of_kind.map(|(stream, &id)| (stream, id)));
        let Some(channel) = state.existing(Kind::Candle, &ticket.channel) else { return Loaded::Done };
        let Some(waiting) = channel.finish_loading(ticket.number, cursors) else { return Loaded::Done };
        for candle in candles {
            channel.store(candle, &position, 0);
        }
        let (snapshot, name) = (channel.snapshot(), Arc::clone(&channel.name));
        let marker = Notice::Subscribed { channel: &name, position: Some(position) }.encode();
        for mailbox in channel.subscribers.values() {
            mailbox.push_snapshot(Arc::clone(&snapshot));
            mailbox.push_text(marker.clone());
        }
        let now = Instant::now();
        for entry in waiting {
            self.offer(&mut state, entry, now);
        }
        Loaded::Done
    }

    /// Whether somebody still waits for what `ticket` should load.
    pub fn awaits(&self, ticket: &Ticket) -> bool {
        let mut state = self.state.lock();
        state.existing(Kind::Candle, &ticket.channel).is_some_and(|channel| channel.awaits(ticket.number))
    }

    /// Sends the entries of one stream, in the order given, to whom they concern; the stream has
    /// then been read up to `last`, also where its last entries couldn't be understood.
    pub fn publish(&self, entries: impl IntoIterator<Item = Entry>, stream: &StreamName, last: EntryId) {
        let mut state = self.state.lock();
        let now = Instant::now();
        for entry in entries {
            state.streams.advance(stream, entry.id, entry.kind);
            self.offer(&mut state, entry, now);
        }
        state.streams.cursors.insert(stream.clone(), last);
    }

    /// Sends what channels hold back, each when its time has come. Never ends.
    pub async fn keep_pace(&self) -> Infallible {
        loop {
            let next = self.release(Instant::now());
            match next {
                None => self.held_back.notified().await,
                Some(time) => tokio::select! {
                    () = tokio::time::sleep_until(time.into()) => {}
                    () = self.held_back.notified() => {}
                },
            }
        }
    }

    /// The latest price of every symbol as JSON objects, by symbol; `None` before the first load.
    pub fn latest_prices(&self) -> Option<Vec<Vec<u8>>> {
        let state = self.state.lock();
        state.streams.epoch.as_ref()?;
        let mut latest: Vec<(&str, &Arc<Update>)> = state.channels[&Kind::Price]
            .values()
            .flat_map(|channel| channel.stored().map(|update| (&*channel.name, update)))
            .collect();
        latest.sort_unstable_by_key(|(name, _)| *name);
        Some(latest.into_iter().map(|(_, update)| update.body()).collect())
    }

    /// Closes every client; `close` is asked for each, by its number.
    pub fn close_all(&self, close: impl Fn(u64) -> Close) {
        for (&id, mailbox) in &self.state.lock().clients {
            mailbox.close(close(id));
        }
    }

    fn offer(&self, state: &mut State, entry: Entry, now: Instant) {
        let kind = entry.kind;
        let channel = match kind {
            Kind::Price => Some(state.channel(kind, &entry.channel)),
            Kind::Article => state.existing(kind, ARTICLES_CHANNEL),
            Kind::Candle => state.existing(kind, &entry.channel),
        };
        let Some(channel) = channel else { return };
        let name = Arc::clone(&channel.name);
        match channel.offer(entry, now) {
            Offer::Send(held) => self.send(state, kind, &name, held),
            Offer::At(time) => {
                state.due.push(Reverse((time, kind, name)));
                self.held_back.notify_one();
            }
            Offer::Later => {}
        }
    }

    fn release(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        loop {
            let Reverse((time, ..)) = state.due.peek()?;
            if *time > now {
                return Some(*time);
            }
            let Some(Reverse((_, kind, name))) = state.due.pop() else { continue };
            while let Some(channel) = state.existing(kind, &name) {
                match channel.release(now) {
                    Offer::Send(held) => self.send(&mut state, kind, &name, held),
                    Offer::At(time) => {
                        state.due.push(Reverse((time, kind, name)));
                        break;
                    }
                    Offer::Later => break,
                }
            }
        }
    }

    fn send(&self, state: &mut State, kind: Kind, name: &str, held: Held) {
        let State { streams, channels, all_prices, all_prices_snapshot, .. } = state;
        let Some(channel) = channels.get_mut(&kind).and_then(|channels| channels.get_mut(name)) else { return };
        let Some(position) = streams.position(kind, Some((&held.stream, held.id))) else {
            warn!(channel = name, "message before the first load dropped");
            return;
        };
        channel.source = Some(held.stream.clone());
        let update = channel.encode(held, &position);
        let mut skipped = u64::from(update.skipped);
        for mailbox in channel.subscribers.values() {
            skipped += u64::from(mailbox.push(&update));
        }
        if kind == Kind::Price {
            *all_prices_snapshot = None;
            for mailbox in all_prices.values() {
                skipped += u64::from(mailbox.push(&update));
            }
        }
        self.stats.skipped.increment(skipped);
    }
}

impl Streams {
    fn advance(&mut self, stream: &StreamName, id: EntryId, kind: Kind) {
        match self.cursors.get_mut(stream) {
            Some(cursor) => *cursor = id,
            None => {
                self.cursors.insert(stream.clone(), id);
            }
        }
        if self.kinds.get(stream) != Some(&kind) {
            self.kinds.insert(stream.clone(), kind);
        }
    }

    /// The position after the entry `at`, or of everything of `kind`; `None` before the first
    /// load. A price or candle comes from one stream; articles come from several.
    fn position(&self, kind: Kind, at: Option<(&StreamName, EntryId)>) -> Option<Position> {
        let epoch = self.epoch.as_ref()?;
        if let (true, Some(at)) = (kind.is_keyed(), at) {
            return Some(Position::new(epoch, [at]));
        }
        let of_kind = self.cursors.iter().filter(|(stream, _)| self.kinds.get(*stream) == Some(&kind));
        Some(Position::new(epoch, of_kind.map(|(stream, &id)| (stream, id))))
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn existing(&mut self, kind: Kind, name: &str) -> Option<&mut Channel> {
        self.channels.get_mut(&kind)?.get_mut(name)
    }

    fn channel(&mut self, kind: Kind, name: &str) -> &mut Channel {
        let (next, rate) = (&mut self.next, self.rate);
        let channels = self.channels.entry(kind).or_default();
        if !channels.contains_key(name) {
            *next += 1;
            let pace = kind.is_keyed().then(|| Pace::new(rate));
            let name: Arc<str> = name.into();
            channels.insert(Arc::clone(&name), Channel::new(*next, kind, name, pace));
        }
        channels.get_mut(name).expect("it was put there if it was missing")
    }

    fn all_prices_snapshot(&mut self) -> Arc<[Arc<Update>]> {
        let prices = &self.channels[&Kind::Price];
        let snapshot = self
            .all_prices_snapshot
            .get_or_insert_with(|| prices.values().flat_map(Channel::stored).cloned().collect());
        Arc::clone(snapshot)
    }

    fn marker(&self, kind: Kind, name: &str, source: Option<&StreamName>) -> Bytes {
        let at = source.and_then(|stream| Some((stream, *self.streams.cursors.get(stream)?)));
        Notice::Subscribed { channel: name, position: self.streams.position(kind, at) }.encode()
    }

    /// One message to every client that listens to anything.
    fn tell_subscribers(&self, text: &Bytes) {
        let mut told = HashSet::new();
        let channels = self.channels.values().flat_map(HashMap::values);
        for (id, mailbox) in channels.flat_map(|channel| &channel.subscribers).chain(&self.all_prices) {
            if told.insert(id) {
                mailbox.push_text(text.clone());
            }
        }
    }

    /// What every loaded channel holds, to its subscribers.
    fn send_snapshots(&mut self) {
        for kind in [Kind::Price, Kind::Article] {
            let names: Vec<Arc<str>> = self.channels[&kind].keys().cloned().collect();
            for name in names {
                let marker = self.marker(kind, &name, None);
                let Some(channel) = self.existing(kind, &name) else { continue };
                let snapshot = channel.snapshot();
                for mailbox in channel.subscribers.values() {
                    mailbox.push_snapshot(Arc::clone(&snapshot));
                    mailbox.push_text(marker.clone());
                }
            }
        }
        let (snapshot, marker) = (self.all_prices_snapshot(), self.marker(Kind::Price, ALL_PRICES, None));
        for mailbox in self.all_prices.values() {
            mailbox.push_snapshot(Arc::clone(&snapshot));
            mailbox.push_text(marker.clone());
        }
    }

    fn candle_tickets(&mut self) -> Vec<Ticket> {
        let names: Vec<Arc<str>> = self.channels[&Kind::Candle].keys().cloned().collect();
        names.into_iter().filter_map(|name| self.candle_ticket(&name)).collect()
    }

    fn candle_ticket(&mut self, name: &str) -> Option<Ticket> {
        let number = self.number();
        let channel = self.existing(Kind::Candle, name)?;
        channel.start_loading(number);
        Some(Ticket { channel: Arc::clone(&channel.name), number })
    }
}
