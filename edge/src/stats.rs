//! The edge's figures: metric handles, resolved once, and the state that `/health` shows.
//!
//! Every metric is described here and nowhere else.

use crate::message::Kind;
use metrics::{Counter, Gauge, counter, gauge};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tidemill_service::metrics::{Metric, describe};

const KIND: (&str, &[&str]) = ("kind", &[Kind::Price.name(), Kind::Article.name(), Kind::Candle.name()]);

/// What an edge counts.
pub const ALL: &[Metric] = &[
    Metric::gauge("tidemill_edge_connections", &[], "Open WebSockets"),
    Metric::gauge("tidemill_edge_redis_up", &[], "1 while the feed is connected to Redis"),
    Metric::counter("tidemill_edge_entries_total", &[KIND], "Stream entries taken from Redis, by kind"),
    Metric::counter("tidemill_edge_messages_sent_total", &[KIND], "Messages written to sockets, by kind"),
    Metric::counter("tidemill_edge_skipped_total", &[], "Values replaced by a newer one before a client got them"),
    Metric::counter("tidemill_edge_rejected_entries_total", &[], "Stream entries that could not be understood"),
    Metric::counter("tidemill_edge_redis_reconnects_total", &[], "Connections to Redis that were lost"),
    Metric::counter("tidemill_edge_resets_total", &[], "Times that every client was given snapshots anew"),
    Metric::counter("tidemill_edge_refused_connections_total", &[], "Sockets refused at the connection limit"),
];

/// Handles to every metric, and what the process knows of itself.
#[derive(Debug)]
pub struct Stats {
    /// Values that a newer one took the place of before a client got them.
    pub skipped: Counter,
    /// Connections to Redis that were lost.
    pub redis_reconnects: Counter,
    /// Times that clients were given snapshots anew.
    pub resets: Counter,
    /// Stream entries that couldn't be understood.
    pub rejected: Counter,
    /// Sockets refused because there were too many.
    pub refused: Counter,
    /// Open sockets.
    pub connections: Gauge,
    sent: [Counter; 3],
    received: [Counter; 3],
    redis_up_gauge: Gauge,
    redis_up: AtomicBool,
    loaded: AtomicBool,
    draining: AtomicBool,
    started: Instant,
}

impl Stats {
    /// Handles to the process's recorder.
    pub fn new() -> Self {
        describe(ALL);
        Self {
            skipped: counter!("tidemill_edge_skipped_total"),
            redis_reconnects: counter!("tidemill_edge_redis_reconnects_total"),
            resets: counter!("tidemill_edge_resets_total"),
            rejected: counter!("tidemill_edge_rejected_entries_total"),
            refused: counter!("tidemill_edge_refused_connections_total"),
            connections: gauge!("tidemill_edge_connections"),
            sent: Kind::ALL.map(|kind| counter!("tidemill_edge_messages_sent_total", "kind" => kind.name())),
            received: Kind::ALL.map(|kind| counter!("tidemill_edge_entries_total", "kind" => kind.name())),
            redis_up_gauge: gauge!("tidemill_edge_redis_up"),
            redis_up: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Messages of `kind` written to sockets.
    pub fn sent(&self, kind: Kind) -> &Counter {
        &self.sent[kind as usize]
    }

    /// Stream entries of `kind` taken.
    pub fn received(&self, kind: Kind) -> &Counter {
        &self.received[kind as usize]
    }

    /// Notes whether the feed is connected to Redis.
    pub fn set_redis_up(&self, up: bool) {
        self.redis_up.store(up, Ordering::Relaxed);
        self.redis_up_gauge.set(if up { 1.0 } else { 0.0 });
    }

    /// Whether the feed is connected to Redis.
    pub fn is_redis_up(&self) -> bool {
        self.redis_up.load(Ordering::Relaxed)
    }

    /// Notes that the first snapshot was read.
    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// Notes that the process is about to end.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new clients should come here. An edge that once had its snapshot stays ready while
    /// Redis is away: it has something to serve, and so would no other edge have more.
    pub fn is_ready(&self) -> bool {
        self.loaded.load(Ordering::Relaxed) && !self.is_draining()
    }

    /// Whether the process is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Time since start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
