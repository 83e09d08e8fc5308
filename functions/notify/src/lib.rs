//! `notify`: everything users watch, from Kafka into Redis, as docs/redis.md lays it out. A
//! record is written once: its offset is its place in the stream, and Redis refuses a place
//! that is taken.

pub mod context;
pub mod handler;
pub mod message;
pub mod write;
