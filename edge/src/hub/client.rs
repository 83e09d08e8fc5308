//! A client of the hub: what it listens to, forgotten when it is dropped.

use super::{Hub, Subscribers, Ticket};
use crate::{mailbox::Mailbox, message::Kind};
use std::{collections::HashMap, sync::Arc};

/// The channel of every symbol's price, in messages to clients.
pub const ALL_PRICES: &str = "*";

/// What can be listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// One channel.
    Channel(Kind, Arc<str>),
    /// The prices of all symbols.
    AllPrices,
}

/// One client's part in the hub.
#[derive(Debug)]
pub struct Client {
    id: u64,
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    topics: Vec<Topic>,
}

impl Client {
    /// A client that listens to nothing yet.
    pub fn new(hub: Arc<Hub>) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let id = {
            let mut state = hub.state.lock();
            let id = state.number();
            state.clients.insert(id, Arc::clone(&mailbox));
            id
        };
        Self { id, hub, mailbox, topics: Vec::new() }
    }

    /// What waits to be written to it.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What it listens to.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Listens to `topic`: its snapshot is put into the mailbox, and everything after it will be.
    /// Answers the ticket to load the channel with, where it is the first to listen.
    pub fn subscribe(&mut self, topic: Topic) -> Option<Ticket> {
        if self.topics.contains(&topic) {
            return None;
        }
        let ticket = self.hub.subscribe(self.id, &self.mailbox, &topic);
        self.topics.push(topic);
        ticket
    }

    /// Stops listening; whether it did listen.
    pub fn unsubscribe(&mut self, topic: &Topic) -> bool {
        let Some(index) = self.topics.iter().position(|held| held == topic) else { return false };
        self.topics.swap_remove(index);
        self.hub.unsubscribe(self.id, topic);
        true
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for topic in std::mem::take(&mut self.topics) {
            self.hub.unsubscribe(self.id, &topic);
        }
        self.hub.state.lock().clients.remove(&self.id);
    }
}

impl Hub {
    fn subscribe(&self, id: u64, mailbox: &Arc<Mailbox>, topic: &Topic) -> Option<Ticket> {
        let mut state = self.state.lock();
        let ready = state.streams.epoch.is_some();
        match topic {
            Topic::AllPrices => {
                state.all_prices.insert(id, Arc::clone(mailbox));
                if ready {
                    mailbox.push_snapshot(state.all_prices_snapshot());
                    mailbox.push_text(state.marker(Kind::Price, ALL_PRICES, None));
                }
                None
            }
            Topic::Channel(kind, name) => {
                let is_new = state.existing(*kind, name).is_none();
                let channel = state.channel(*kind, name);
                channel.subscribers.insert(id, Arc::clone(mailbox));
                if !ready {
                    return None;
                }
                if *kind == Kind::Candle && is_new {
                    return state.candle_ticket(name);
                }
                if !channel.is_loading() {
                    mailbox.push_snapshot(channel.snapshot());
                    let source = channel.source.clone();
                    mailbox.push_text(state.marker(*kind, name, source.as_ref()));
                }
                None
            }
        }
    }

    fn unsubscribe(&self, id: u64, topic: &Topic) {
        let mut state = self.state.lock();
        match topic {
            Topic::AllPrices => remove(&mut state.all_prices, id),
            Topic::Channel(kind, name) => {
                let Some(channel) = state.existing(*kind, name) else { return };
                remove(&mut channel.subscribers, id);
                if channel.is_idle() && *kind != Kind::Article {
                    state.channels.get_mut(kind).and_then(|channels: &mut HashMap<_, _>| channels.remove(name));
                }
            }
        }
    }
}

/// Removes a subscriber and gives memory back after a crowd has left.
fn remove(subscribers: &mut Subscribers, id: u64) {
    subscribers.remove(&id);
    if subscribers.capacity() > 64 && subscribers.len() < subscribers.capacity() / 4 {
        subscribers.shrink_to_fit();
    }
}
