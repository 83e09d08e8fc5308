//! `notify`: everything users watch, from Kafka into Redis, as docs/redis.md lays it out. A
//! record is written once: its offset is its place in the stream, and what was taken of its
//! partition tells a redelivered one from one of a topic that began anew.

pub mod context;
pub mod handler;
pub mod message;
pub mod write;
