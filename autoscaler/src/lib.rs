//! How many replicas a function should have, and why. Pure: an observation in, a decision out.
//!
//! The same observation always gives the same decision; clocks and counters are the caller's.

mod decide;

pub use decide::{Decision, Observation, decide};
