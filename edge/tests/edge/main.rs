//! The edge against a real Redis, over real sockets.
//!
//! Needs `redis-server` on the path; every test starts its own.

mod candles;
mod feed;
mod limits;
mod rest;
mod slow;
mod support;
