//! What becomes of records that failed, decided without a clock or a network.
//!
//! A batch is tried `attempts` times; then it is split in halves, each tried once more, until
//! the guilty record stands alone and goes to the failure destination. Every record that enters
//! leaves exactly once: succeeded or dead.

use crate::entry::Entry;
use rand::Rng;
use std::{collections::HashSet, ops::RangeInclusive, time::Duration};
use tidemill_api::{Backoff, Ordering, Retry};

/// Records that are tried together.
#[derive(Debug, PartialEq, Eq)]
pub struct Work {
    /// The records, in order.
    pub records: Vec<Entry>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Whether the function has named each of them as failed: then they may be tried with others.
    pub named: bool,
}

/// What is left of a batch, and rests.
#[derive(Debug, PartialEq, Eq)]
pub struct Again {
    /// Pieces of work, the next one last; each waits for those after it.
    pub stack: Vec<Work>,
    /// How long it rests.
    pub after: Duration,
}

/// What to do with work that failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Try it again after a pause.
    Again(Work),
    /// Try both parts without a pause.
    Split(Split),
    /// Give it up.
    Dead(Work),
}

/// Two parts of what failed together.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// The earlier one.
    pub first: Work,
    /// The later one.
    pub second: Work,
    /// Whether the second need not wait until the first has its outcome.
    apart: bool,
}

impl Split {
    /// Lays both where they are tried: `stack` is what they were on, each of which waits for those after it,
    /// and `stacks` do not wait for each other.
    pub fn lay(self, stack: &mut Vec<Work>, stacks: &mut Vec<Vec<Work>>) {
        // What is left below may have to wait for either.
        if self.apart && stack.is_empty() {
            stacks.push(vec![self.second]);
        } else {
            stack.push(self.second);
        }
        stack.push(self.first);
    }
}

impl Work {
    /// Records that were not tried yet.
    #[must_use]
    pub fn new(records: Vec<Entry>) -> Self {
        Self { records, attempts: 0, named: false }
    }

    /// What to do now that attempt number `self.attempts` has failed.
    #[must_use]
    pub fn failed(self, policy: &Retry, ordering: Ordering) -> Next {
        if self.attempts < policy.attempts {
            return Next::Again(self);
        }
        if !policy.bisect || self.records.len() < 2 {
            return Next::Dead(self);
        }
        let Self { mut records, attempts, named } = self;
        let work = |records| Self { records, attempts, named };
        let mut second = records.split_off(records.len() / 2);
        let mut apart = ordering != Ordering::Partition;
        if ordering == Ordering::Key {
            // What has to come after a record of the first half joins it there, unless that is all.
            let keys: HashSet<Vec<u8>> = records.iter().filter_map(Entry::key).map(<[u8]>::to_vec).collect();
            let bound = |record: &Entry| record.key().is_some_and(|key| keys.contains(key));
            apart = !second.iter().all(bound);
            if apart {
                records.extend(second.extract_if(.., |record| bound(record)));
            }
        }
        Next::Split(Split { first: work(records), second: work(second), apart })
    }
}

/// The records of all these pieces of work.
pub fn records(stack: &[Work]) -> impl Iterator<Item = &Entry> {
    stack.iter().flat_map(|work| &work.records)
}

/// Of a pause, so that many that failed together do not return together.
pub const ANY: RangeInclusive<f64> = 0.5..=1.0;
/// Of a pause that others may join in its second half: the longer, the more return in one invocation.
pub const LONG: RangeInclusive<f64> = 0.9..=1.0;

/// How long to wait after attempt number `attempts`: doubled each time up to the maximum, of
/// which a random part is taken.
pub fn pause(backoff: &Backoff, attempts: u32, part: RangeInclusive<f64>, random: &mut impl Rng) -> Duration {
    let doubled = backoff.initial.get().saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let whole = doubled.min(backoff.max.get());
    whole.mul_f64(random.random_range(part))
}

#[cfg(test)]
mod tests {
    use super::{ANY, LONG, Next, Work, pause};
    use crate::{entry::Entry, record::Record};
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::SmallRng};
    use std::collections::BTreeSet;
    use tidemill_api::{Backoff, Duration, Ordering, Retry};

    fn record(offset: i64, key: Option<u8>) -> Entry {
        let key = key.map(|key| vec![key].into());
        Entry::from(Record { offset, key, ..Record::default() })
    }

    fn records(count: i64) -> Vec<Entry> {
        (0..count).map(|offset| record(offset, None)).collect()
    }

    /// Runs the policy over a function that fails whenever a guilty record is in the batch.
    fn run(count: i64, guilty: &BTreeSet<i64>, policy: &Retry) -> (Vec<i64>, Vec<i64>, u32) {
        run_records(records(count), guilty, policy, Ordering::Partition)
    }

    fn run_records(
        records: Vec<Entry>,
        guilty: &BTreeSet<i64>,
        policy: &Retry,
        ordering: Ordering,
    ) -> (Vec<i64>, Vec<i64>, u32) {
        let (mut succeeded, mut dead, mut invocations) = (Vec::new(), Vec::new(), 0);
        let mut stacks = vec![vec![Work::new(records)]];
        // As the pipeline works them off.
        while let Some(mut stack) = stacks.pop() {
            while let Some(mut work) = stack.pop() {
                work.attempts += 1;
                invocations += 1;
                let offsets: Vec<i64> = work.records.iter().map(Entry::offset).collect();
                if !offsets.iter().any(|offset| guilty.contains(offset)) {
                    succeeded.extend(offsets);
                    continue;
                }
                match work.failed(policy, ordering) {
                    Next::Again(work) => stack.push(work),
                    Next::Split(split) => split.lay(&mut stack, &mut stacks),
                    Next::Dead(work) => dead.extend(work.records.iter().map(Entry::offset)),
                }
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
            let mut pause = |part| pause(&backoff, attempts, part, &mut random).as_millis();
            let (any, long) = (pause(ANY), pause(LONG));
            assert!((whole / 2..=whole).contains(&any), "after {attempts}: {any} ms");
            assert!((whole / 10 * 9..=whole).contains(&long), "after {attempts}: {long} ms");
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

        #[test]
        fn parts_of_a_batch_keep_the_order_of_each_key(
            keys in prop::collection::vec(0_u8..4, 1..40),
            guilty in prop::collection::btree_set(0_i64..40, 0..6),
            attempts in 1_u32..3,
        ) {
            let records: Vec<Entry> =
                (0..).zip(&keys).map(|(offset, one)| record(offset, (*one > 0).then_some(*one))).collect();
            let count = records.len();
            let guilty: BTreeSet<i64> = guilty.into_iter().filter(|offset| (*offset as usize) < count).collect();
            let policy = Retry { attempts, ..Retry::default() };
            let (succeeded, dead, _) = run_records(records, &guilty, &policy, Ordering::Key);
            prop_assert_eq!(succeeded.len(), count - guilty.len());
            prop_assert_eq!(dead.into_iter().collect::<BTreeSet<_>>(), guilty);
            for one in 1..4 {
                let of_key: Vec<i64> = succeeded.iter().copied().filter(|offset| keys[*offset as usize] == one).collect();
                prop_assert!(of_key.is_sorted(), "key {}: {:?}", one, of_key);
            }
        }
    }
}
