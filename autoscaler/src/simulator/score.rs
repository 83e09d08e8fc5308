//! What a policy cost and what it left waiting, measured on the world alone.

use super::{DRAIN_TARGET, STEP, Seen, World};
use std::{collections::VecDeque, time::Duration};

/// The score of one policy on one trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// The integral over time of how many records had by then waited longer than
    /// [`DRAIN_TARGET`], in milliseconds: a record that waits 12 s adds 2 s.
    pub late: u64,
    /// The integral over time of the pods asked for.
    pub pods: Duration,
    /// How often another number of pods was asked for.
    pub scalings: u32,
    /// How often the group was rebalanced.
    pub rebalances: u32,
    /// The longest that a record has waited.
    pub worst_wait: Duration,
    /// Records waiting at the end.
    pub backlog: u64,
}

/// Adds up a [`Score`], step by step.
#[derive(Debug, Default)]
pub(super) struct Scorer {
    score: Score,
    asked: Option<u32>,
    /// The ends of the partitions, one entry a step, as far back as the drain target.
    ends: VecDeque<Vec<u64>>,
}

impl Scorer {
    /// Takes in the world after a step, before the policy's next answer.
    pub(super) fn step(&mut self, world: &World, seen: &Seen) {
        let step = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        self.score.late += step * self.late(seen);
        self.score.pods += STEP * seen.asked;
        if self.asked.is_some_and(|asked| asked != seen.asked) {
            self.score.scalings += 1;
        }
        self.asked = Some(seen.asked);
        self.score.rebalances = world.rebalances();
        self.score.worst_wait = self.score.worst_wait.max(world.oldest());
        self.score.backlog = seen.lag();
    }

    /// Records that wait since before the drain target. Partitions are queues: they are what had
    /// arrived by then and was not answered since.
    fn late(&mut self, seen: &Seen) -> u64 {
        self.ends.push_back(seen.ends.clone());
        if self.ends.len() as u128 <= DRAIN_TARGET.as_millis() / STEP.as_millis() {
            return 0;
        }
        let Some(then) = self.ends.pop_front() else { return 0 };
        let answered = seen.ends.iter().zip(&seen.lags).map(|(end, lag)| end - lag);
        then.iter().zip(answered).map(|(end, answered)| end.saturating_sub(answered)).sum()
    }

    pub(super) fn score(&self) -> Score {
        self.score
    }
}

#[cfg(test)]
mod tests {
    use super::{Scorer, World};
    use crate::simulator::Conditions;
    use std::time::Duration;

    #[test]
    fn only_what_waits_longer_than_the_target_counts() {
        let (mut world, mut scorer) = (World::new(Conditions::default(), 0), Scorer::default());
        world.step(&[7; 12], None);
        scorer.step(&world, &world.seen());
        for (steps, late) in [(99, 0), (1, 8_400), (9, 84_000)] {
            for _ in 0..steps {
                world.step(&[0; 12], None);
                scorer.step(&world, &world.seen());
            }
            assert_eq!(scorer.score().late, late);
        }
        assert_eq!((scorer.score().worst_wait, scorer.score().backlog), (Duration::from_secs(11), 84));
    }
}
