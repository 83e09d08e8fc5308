//! One trace through one policy: the score, and what is drawn of it.

use super::{Conditions, MAX_REPLICAS, Policy, STEP, Score, Trace, World, score::Scorer};
use std::time::Duration;

/// Steps that one point of the picture stands for.
const STEPS_A_POINT: u32 = 50;

/// How a policy fared on a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The policy's name.
    pub policy: &'static str,
    /// Its score.
    pub score: Score,
    /// Its course.
    pub points: Vec<Point>,
}

/// A span of the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When it ends.
    pub at: Duration,
    /// Records arriving a second.
    pub arriving: f64,
    /// The most records that waited.
    pub lag: u64,
    /// The most pods that were asked for.
    pub replicas: u32,
}

/// Replays the trace.
pub fn replay(trace: &Trace, policy: &mut dyn Policy, conditions: Conditions) -> Replay {
    let mut world = World::new(conditions, trace.replicas);
    let mut arrivals = trace.arrivals(conditions.partitions);
    let (mut scorer, mut points, mut point) = (Scorer::default(), Vec::new(), Point::default());
    let steps = u32::try_from(trace.length.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
    for step in 0..steps {
        let now = STEP * step;
        let arriving = arrivals.next(now);
        world.step(&arriving, trace.failing(now));
        let seen = world.seen();
        scorer.step(&world, &seen);
        world.scale(policy.wanted(&seen).min(MAX_REPLICAS));

        let span = STEP * STEPS_A_POINT;
        point.arriving += arriving.iter().sum::<u64>() as f64 / span.as_secs_f64();
        point.lag = point.lag.max(seen.lag());
        point.replicas = point.replicas.max(seen.asked);
        if (step + 1) % STEPS_A_POINT == 0 {
            point.at = seen.now;
            points.push(std::mem::take(&mut point));
        }
    }
    Replay { policy: policy.name(), score: scorer.score(), points }
}
