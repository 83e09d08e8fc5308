//! How many replicas a function should have, and why. Pure: looks in, a decision out.
//!
//! The same looks always give the same decisions; clocks and counters are the caller's.

mod arrival;
mod bound;
mod capacity;
mod decide;
mod journal;
mod look;
mod share;
pub mod simulator;
mod tracker;

pub use journal::{Entry, Journal, Line, replay};
pub use look::{Look, Partition, Work};
pub use tracker::{Decision, Rest, Rules, Tracker};
