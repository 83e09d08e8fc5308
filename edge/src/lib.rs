//! The edge: what the functions produce, from Redis to WebSocket and HTTP clients.
//!
//! The path of one message is `redis_feed` → `hub` → `mailbox` → `session`. It is encoded once
//! (`message`), in the hub, and every receiver shares those bytes. Nothing on that path waits
//! for a client: a slow one finds its mailbox conflated or is closed, and the others go on.
//! The edge reads Redis and never Kafka.

mod admission;
mod allowance;
mod candle_loader;
mod config;
mod health;
mod hub;
mod mailbox;
mod message;
mod origin;
mod pace;
mod page;
mod params;
mod position;
mod redis_feed;
mod request;
mod rest;
mod routes;
mod server;
mod session;
mod sockets;
mod stats;
mod store;
mod upgrade;

pub use config::Config;
pub use server::{Error, serve};
pub use stats::ALL as METRICS;
