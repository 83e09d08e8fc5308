//! Numaflow's policy for a source, with its defaults: the pending records over what the present
//! replicas process, in steps of two with a pause after each.
//!
//! Sources: <https://numaflow.numaproj.io/user-guide/reference/autoscaling/> (the settings and
//! their defaults), <https://numaflow.numaproj.io/specifications/autoscaling/> (the formula), and
//! `pkg/reconciler/vertex/scaling` of <https://github.com/numaproj/numaflow> (how often a vertex is
//! looked at, and what is done where the formula has no answer).

use super::{MAX_REPLICAS, Policy, Seen, policy::Ticker};
use std::{collections::VecDeque, time::Duration};

/// How often a vertex is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How often rate and pending are sampled.
const SAMPLE: Duration = Duration::from_secs(5);
/// `lookbackSeconds`.
const LOOKBACK: Duration = Duration::from_secs(120);
/// `scaleUpCooldownSeconds` and `scaleDownCooldownSeconds`.
const COOLDOWN: Duration = Duration::from_secs(90);
/// `zeroReplicaSleepSeconds`.
const ZERO_REPLICA_SLEEP: Duration = Duration::from_secs(120);
/// `targetProcessingSeconds`.
const TARGET_PROCESSING: Duration = Duration::from_secs(20);
/// `replicasPerScaleUp` and `replicasPerScaleDown`.
const REPLICAS_PER_SCALE: u32 = 2;

/// Numaflow with its defaults.
#[derive(Debug)]
pub struct Numaflow {
    looks: Ticker,
    samples: Ticker,
    /// When, answered, pending; only while there are pods to tell.
    lookback: VecDeque<(Duration, u64, u64)>,
    scaled: Option<Duration>,
}

impl Numaflow {
    /// Its clocks strike first when the part `phase` of a period is over.
    #[must_use]
    pub fn new(phase: f64) -> Self {
        let (looks, samples) = (Ticker::new(LOOK, phase), Ticker::new(SAMPLE, phase));
        Self { looks, samples, lookback: VecDeque::new(), scaled: None }
    }

    fn sample(&mut self, seen: &Seen) {
        if seen.ready == 0 {
            self.lookback.clear();
            return;
        }
        self.lookback.push_back((seen.now, seen.answered, seen.lag()));
        while self.lookback.front().is_some_and(|(at, ..)| seen.now.saturating_sub(*at) > LOOKBACK) {
            self.lookback.pop_front();
        }
    }

    /// Records processed a second and records pending, on average; `None` before there are two
    /// samples.
    fn averages(&self) -> Option<(f64, f64)> {
        let ((from, before, _), (to, after, _)) = (self.lookback.front()?, self.lookback.back()?);
        let seconds = to.saturating_sub(*from).as_secs_f64();
        let pending = self.lookback.iter().map(|(.., pending)| *pending).sum::<u64>() as f64;
        (seconds > 0.0).then(|| ((after - before) as f64 / seconds, pending / self.lookback.len() as f64))
    }

    fn look(&self, seen: &Seen) -> u32 {
        let since = self.scaled.map(|scaled| seen.now.saturating_sub(scaled));
        let waited = |pause| since.is_none_or(|since| since >= pause);
        if seen.asked == 0 {
            return u32::from(waited(ZERO_REPLICA_SLEEP));
        }
        match self.averages() {
            Some((rate, pending)) if waited(COOLDOWN) && seen.ready == seen.asked => {
                let wanted = desired(rate, pending, seen.asked).min(MAX_REPLICAS);
                wanted.clamp(seen.asked.saturating_sub(REPLICAS_PER_SCALE), seen.asked + REPLICAS_PER_SCALE)
            }
            _ => seen.asked,
        }
    }
}

impl Policy for Numaflow {
    fn name(&self) -> &'static str {
        "Numaflow"
    }

    fn wanted(&mut self, seen: &Seen) -> u32 {
        if self.samples.strikes(seen.now) {
            self.sample(seen);
        }
        if !self.looks.strikes(seen.now) {
            return seen.asked;
        }
        let wanted = self.look(seen);
        if wanted != seen.asked {
            self.scaled = Some(seen.now);
        }
        wanted
    }
}

/// Replicas for this rate and these pending records, before limits and pauses.
fn desired(rate: f64, pending: f64, replicas: u32) -> u32 {
    if pending == 0.0 && rate == 0.0 {
        return 0;
    }
    if pending == 0.0 || rate == 0.0 {
        return 1;
    }
    let wanted = (pending / rate / TARGET_PROCESSING.as_secs_f64() * f64::from(replicas)).round();
    (wanted.max(1.0).min(pending) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Numaflow, Policy, Seen, desired};
    use crate::simulator::STEP;

    #[test]
    fn the_formula() {
        for (what, rate, pending, replicas, expected) in [
            ("half of what 20 s can do", 100.0, 1_000.0, 2, 1),
            ("just what 20 s can do", 100.0, 2_000.0, 2, 2),
            ("four times that", 100.0, 8_000.0, 2, 8),
            ("rounded, not up", 100.0, 2_400.0, 2, 2),
            ("rounded up", 100.0, 2_500.0, 2, 3),
            ("nothing waits, something was done", 100.0, 0.0, 8, 1),
            ("nothing is done", 0.0, 100.0, 8, 1),
            ("nothing at all", 0.0, 0.0, 8, 0),
            ("no more than wait", 0.1, 3.0, 2, 3),
        ] {
            assert_eq!(desired(rate, pending, replicas), expected, "{what}");
        }
    }

    fn changes(replicas: u32, lag: u64, seconds: u32) -> Vec<(f64, u32)> {
        let (mut numaflow, mut asked, mut changes) = (Numaflow::new(0.5), replicas, Vec::new());
        for step in 0..seconds * 10 {
            let seen = Seen {
                now: STEP * step,
                lags: vec![lag],
                asked,
                ready: asked,
                answered: u64::from(step),
                ..Seen::default()
            };
            let wanted = numaflow.wanted(&seen);
            if wanted != asked {
                changes.push((seen.now.as_secs_f64(), wanted));
            }
            asked = wanted;
        }
        changes
    }

    #[test]
    fn two_at_a_time_and_90_seconds_apart() {
        assert_eq!(changes(1, 100_000, 300), [(15.0, 3), (105.0, 5), (195.0, 7), (285.0, 9)]);
        assert_eq!(changes(6, 0, 200), [(15.0, 4), (105.0, 2), (195.0, 1)]);
    }
}
