//! Replays load traces through scaling policies in one and the same world, and scores them.
//!
//! Pure and deterministic: time is counted in steps of [`STEP`], chance comes from fixed seeds, and
//! a policy sees only what a real one could measure. The same code always gives the same scores.

mod assignment;
mod fixed;
mod hpa;
mod keda;
mod numaflow;
mod partition;
mod policy;
mod replay;
mod score;
mod summary;
mod tidemill;
mod trace;
mod world;

pub use fixed::Fixed;
pub use keda::Keda;
pub use numaflow::Numaflow;
pub use policy::{Policy, Seen};
pub use replay::{Point, Replay, replay};
pub use score::Score;
pub use summary::Summary;
pub use tidemill::Tidemill;
pub use trace::{Trace, traces};
pub use world::World;

use std::time::Duration;

/// How far the world moves at once.
pub const STEP: Duration = Duration::from_millis(100);
/// A wait that is longer than this counts against a policy.
pub const DRAIN_TARGET: Duration = Duration::from_secs(10);
/// At most so many pods, whatever a policy asks for.
pub const MAX_REPLICAS: u32 = 12;

/// What is the same for all policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Partitions of the topic.
    pub partitions: usize,
    /// How long a pod works on one record; it works on one at a time.
    pub handler: Duration,
    /// From asking for a pod until it joins the group.
    pub pod_start: Duration,
    /// How long a partition that changes hands stands still.
    pub rebalance: Duration,
}

impl Conditions {
    /// Records a second that one pod works off (μ).
    #[must_use]
    pub fn capacity(&self) -> f64 {
        1.0 / self.handler.as_secs_f64()
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            partitions: 12,
            handler: Duration::from_millis(20),
            pod_start: Duration::from_millis(1200),
            rebalance: Duration::from_secs(1),
        }
    }
}

/// The policies that are compared, each new. `KEDA` is tuned: a replica for as many records as it
/// works off within the drain target.
///
/// A scaler's clocks have nothing to do with when the load changes. When the trace begins, the part
/// `phase` of each of their periods is left, from 0 to 1.
#[must_use]
pub fn policies(conditions: &Conditions, phase: f64) -> Vec<Box<dyn Policy>> {
    let tuned = (conditions.capacity() * DRAIN_TARGET.as_secs_f64()) as u64;
    vec![
        Box::new(Tidemill::new(phase)),
        Box::new(Keda::new("KEDA", tuned, phase)),
        Box::new(Numaflow::new(phase)),
        Box::new(Keda::new("KEDA, lagThreshold 100", 100, phase)),
        Box::new(Fixed),
    ]
}
