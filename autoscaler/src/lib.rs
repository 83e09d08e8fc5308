//! How many replicas a function should have, and why. Pure: observations in, a decision out.
//!
//! The same observations always give the same decision; clocks and counters are the caller's.

mod decide;
mod tracker;

pub use decide::{Decision, Observation, decide};
pub use tracker::{Sample, Tracker};
