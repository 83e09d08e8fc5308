//! The horizontal pod autoscaler's arithmetic for an external metric with an `AverageValue`, with
//! its default behaviour.
//!
//! Source: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>, sections
//! "Algorithm details", "Default behavior" and "Stabilization window".

use std::{collections::VecDeque, time::Duration};

/// How far the metric may be from its target without effect.
const TOLERANCE: f64 = 0.1;
/// How long a higher recommendation outlives lower ones.
const STABILIZATION: Duration = Duration::from_secs(300);

/// An autoscaler and its recent recommendations.
#[derive(Debug, Default)]
pub(super) struct Hpa {
    recommended: VecDeque<(Duration, u32)>,
}

impl Hpa {
    /// How many replicas it sets, once every 15 s, for a metric of `usage` where one replica
    /// should have `target`; never fewer than one, which is all it can.
    pub(super) fn sync(&mut self, now: Duration, usage: u64, target: u64, replicas: u32, max: u32) -> u32 {
        let recommendation = recommendation(usage, target, replicas);
        if self.recommended.is_empty() {
            // What it finds counts as its own first recommendation.
            self.recommended.push_back((now, replicas));
        }
        self.recommended.push_back((now, recommendation));
        while self.recommended.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= STABILIZATION) {
            self.recommended.pop_front();
        }
        let highest = self.recommended.iter().map(|(_, replicas)| *replicas).max().unwrap_or(recommendation);
        let stabilized = if recommendation < replicas { highest.min(replicas) } else { recommendation };
        // Up by 100 % or 4 pods in 15 s, whichever is more; down without limit.
        stabilized.min((replicas * 2).max(replicas + 4)).clamp(1, max)
    }
}

fn recommendation(usage: u64, target: u64, replicas: u32) -> u32 {
    let wanted = usage as f64 / target as f64;
    let off = (wanted / f64::from(replicas) - 1.0).abs();
    if off <= TOLERANCE { replicas } else { wanted.ceil() as u32 }
}

#[cfg(test)]
mod tests {
    use super::Hpa;
    use std::time::Duration;

    #[test]
    fn one_sync() {
        for (what, usage, replicas, expected) in [
            ("as it should be", 400, 4, 4),
            ("64 wanted, 63 there: within the tolerance", 6_400, 63, 63),
            ("10.9 wanted, 10 there", 1_090, 10, 10),
            ("12 wanted, 10 there", 1_200, 10, 12),
            ("from one: by 4 pods", 10_000, 1, 5),
            ("from 5: by 100 %", 10_000, 5, 10),
            ("never above the maximum", 10_000, 60, 64),
            ("begun counts whole", 401, 2, 5),
            ("nothing waits: one is the least", 0, 1, 1),
            ("nothing waits: what it began with stays for now", 0, 4, 4),
        ] {
            assert_eq!(Hpa::default().sync(Duration::ZERO, usage, 100, replicas, 64), expected, "{what}");
        }
    }

    #[test]
    fn fewer_only_when_none_wanted_more_for_five_minutes() {
        let mut hpa = Hpa::default();
        for (second, usage, replicas, expected) in [
            (0, 800, 4, 8),
            (15, 0, 8, 8),
            (30, 500, 8, 8),
            (285, 0, 8, 8),
            (300, 0, 8, 5),
            (315, 0, 5, 5),
            (330, 0, 5, 1),
        ] {
            assert_eq!(hpa.sync(Duration::from_secs(second), usage, 100, replicas, 12), expected, "{second} s");
        }
    }
}
