//! What becomes of records that failed, decided without a clock or a network.
//!
//! A batch is tried `attempts` times; then it is split in halves, each tried once more, until
//! the guilty record stands alone and goes to the failure destination. Every record that enters
//! leaves exactly once: succeeded or dead.

use crate::record::Record;
use rand::Rng;
use std::time::Duration;
use tidemill_api::{Backoff, Retry};

/// Records that are tried together.
#[derive(Debug, PartialEq, Eq)]
pub struct Work {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Attempts made so far.
    pub attempts: u32,
}

/// What to do with work that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Try it again after a pause.
    Again(Work),
    /// Try the halves, first half first, without a pause.
    Split(Work, Work),
    /// Give it up.
    Dead(Work),
}

impl Work {
    /// Records that were not tried yet.
    #[must_use]
    pub fn new(records: Vec<Record>) -> Self {
        Self { records, attempts: 0 }
    }

    /// What to do now that attempt number `self.attempts` has failed.
    #[must_use]
    pub fn failed(mut self, policy: &Retry) -> Next {
        if self.attempts < policy.attempts {
            return Next::Again(self);
        }
        if !policy.bisect || self.records.len() < 2 {
            return Next::Dead(self);
        }
        let second = self.records.split_off(self.records.len() / 2);
        let attempts = self.attempts;
        Next::Split(self, Self { records: second, attempts })
    }
}

/// How long to wait after attempt number `attempts`: doubled each time up to the maximum, of
/// which a random half to whole is taken, so that many that failed together do not return together.
pub fn pause(backoff: &Backoff, attempts: u32, random: &mut impl Rng) -> Duration {
    let doubled = backoff.initial.get().saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let whole = doubled.min(backoff.max.get());
    whole.mul_f64(random.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::{Next, Work, pause};
    use crate::record::Record;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};
    use std::collections::BTreeSet;
    use tidemill_api::{Backoff, Duration, Retry};

    fn records(count: i64) -> Vec<Record> {
        (0..count).map(|offset| Record { offset, ..Record::default() }).collect()
    }

    /// Runs the policy over a function that fails whenever a guilty record is in the batch.
    fn run(count: i64, guilty: &BTreeSet<i64>, policy: &Retry) -> (Vec<i64>, Vec<i64>, u32) {
        let (mut succeeded, mut dead, mut invocations) = (Vec::new(), Vec::new(), 0);
        let mut stack = vec![Work::new(records(count))];
        while let Some(mut work) = stack.pop() {
            work.attempts += 1;
            invocations += 1;
            let offsets: Vec<i64> = work.records.iter().map(|record| record.offset).collect();
            if !offsets.iter().any(|offset| guilty.contains(offset)) {
                succeeded.extend(offsets);
                continue;
            }
            match work.failed(policy) {
                Next::Again(work) => stack.push(work),
                Next::Split(first, second) => stack.extend([second, first]),
                Next::Dead(work) => dead.extend(work.records.iter().map(|record| record.offset)),
            }
        }
        (succeeded, dead, invocations)
    }

    #[test]
    fn one_guilty_record_costs_itself_only() {
        let (succeeded, dead, invocations) = run(100, &BTreeSet::from([37]), &Retry::default());
        assert_eq!(dead, [37]);
        assert_eq!(succeeded.len(), 99);
        assert!(invocations <= 3 + 2 * 7, "{invocations} invocations");
    }

    #[test]
    fn without_bisect_the_batch_goes_together() {
        let policy = Retry { bisect: false, ..Retry::default() };
        assert_eq!(run(4, &BTreeSet::from([2]), &policy), (vec![], vec![0, 1, 2, 3], 3));
    }

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut random = SmallRng::seed_from_u64(7);
        for (attempts, whole) in [(1, 100), (2, 200), (4, 800), (5, 1000), (4_000, 1000)] {
            let pause = pause(&backoff, attempts, &mut random).as_millis();
            assert!((whole / 2..=whole).contains(&pause), "after {attempts}: {pause} ms");
        }
    }

    proptest! {
        #[test]
        fn every_record_leaves_once_and_only_the_guilty_die(
            count in 1_i64..80,
            guilty in prop::collection::btree_set(0_i64..80, 0..6),
            attempts in 1_u32..5,
        ) {
            let guilty: BTreeSet<i64> = guilty.into_iter().filter(|offset| *offset < count).collect();
            let policy = Retry { attempts, ..Retry::default() };
            let (succeeded, dead, _) = run(count, &guilty, &policy);
            prop_assert_eq!(dead.len(), guilty.len(), "each once");
            prop_assert_eq!(dead.iter().copied().collect::<BTreeSet<_>>(), guilty);
            let mut all = [succeeded.clone(), dead].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            prop_assert!(succeeded.is_sorted(), "order is kept");
        }
    }
}
