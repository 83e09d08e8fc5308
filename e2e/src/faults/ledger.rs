//! What went in, what came out, and what follows: pure, so that the judge itself is tested.
//!
//! Lost is what a producer got acknowledged and nobody gave back. Repeated is what was given back
//! more than once; where that may happen at all, both copies must lie around one fault.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Numbers of the same remainder have the same key.
pub const KEYS: u64 = 400;
/// How long before a fault the first copy may be from: records done and not yet committed.
const BEFORE: i64 = 5_000;
/// How long after a fault the second copy may come at least: the session that must run out first,
/// 10 s; where that was the session of a member that hears nothing of it, 8 s until its runner starts again; and
/// 10 s for a busy machine to read on.
const AFTER: i64 = 28_000;

/// From when to when a fault was there, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub from: i64,
    /// When it was mended.
    pub to: i64,
    /// When all had come out that was acknowledged before it was mended; what still was to come
    /// out may come twice until then.
    pub out: i64,
}

/// How a group may give records back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Twice only around a fault.
    AtLeastOnce,
    /// Never twice.
    Once,
}

/// What one group has given back.
#[derive(Debug)]
pub struct Outcome {
    promise: Promise,
    /// When each number came, in the order in which it did.
    copies: HashMap<u64, Vec<i64>>,
    /// The last number of each key that came for the first time.
    last: HashMap<u64, u64>,
    inversions: Vec<(u64, u64)>,
    records: usize,
}

/// What is to be said of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that came out.
    pub out: usize,
    /// Numbers that were acknowledged and did not come out.
    pub lost: Vec<u64>,
    /// Numbers that came out more than once.
    pub repeated: usize,
    /// Those of them that may not, with when their copies came.
    pub wrongly: BTreeMap<u64, Vec<i64>>,
    /// Pairs of one key whose first copies came in the wrong order.
    pub inversions: Vec<(u64, u64)>,
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.wrongly.is_empty() && self.inversions.is_empty()
    }
}

impl Outcome {
    /// Nothing came yet.
    #[must_use]
    pub fn new(promise: Promise) -> Self {
        let (copies, last) = (HashMap::new(), HashMap::new());
        Self { promise, copies, last, inversions: Vec::new(), records: 0 }
    }

    /// A number came out, at that time; those of a key are told in the order of their place.
    pub fn came(&mut self, number: u64, at: i64) {
        let first = self.came_in_any_order(number, at);
        if first && let Some(before) = self.last.insert(number % KEYS, number).filter(|before| *before > number) {
            self.inversions.push((before, number));
        }
    }

    /// The same where order is nobody's promise; answers whether it is the first copy.
    pub fn came_in_any_order(&mut self, number: u64, at: i64) -> bool {
        self.records += 1;
        let copies = self.copies.entry(number).or_default();
        copies.push(at);
        copies.len() == 1
    }

    /// How many of the numbers have not come out yet.
    #[must_use]
    pub fn missing(&self, acknowledged: &BTreeSet<u64>) -> usize {
        acknowledged.iter().filter(|number| !self.copies.contains_key(number)).count()
    }

    /// The numbers that came more than once.
    #[must_use]
    pub fn twice(&self) -> BTreeSet<u64> {
        self.copies.iter().filter(|(_, copies)| copies.len() > 1).map(|(number, _)| *number).collect()
    }

    /// What follows. What went in twice may come out twice.
    #[must_use]
    pub fn judge(&self, acknowledged: &BTreeSet<u64>, faults: &[Window], twice: &BTreeSet<u64>) -> Verdict {
        let lost = acknowledged.iter().filter(|number| !self.copies.contains_key(number)).copied().collect();
        let repeated = self.copies.iter().filter(|(number, copies)| copies.len() > 1 && !twice.contains(number));
        let repeated: Vec<_> = repeated.collect();
        let wrong = |copies: &[i64]| match self.promise {
            Promise::Once => true,
            Promise::AtLeastOnce => copies.windows(2).any(|pair| !faults.iter().any(|fault| explains(fault, pair))),
        };
        let wrongly = repeated.iter().filter(|(_, copies)| wrong(copies));
        Verdict {
            out: self.records,
            lost,
            repeated: repeated.len(),
            wrongly: wrongly.map(|(number, copies)| (**number, (*copies).clone())).collect(),
            inversions: self.inversions.clone(),
        }
    }
}

/// Whether both copies lie around the fault.
fn explains(fault: &Window, copies: &[i64]) -> bool {
    let around = fault.from - BEFORE..=fault.out.max(fault.to + AFTER);
    copies.iter().all(|at| around.contains(at))
}

#[cfg(test)]
mod tests {
    use super::{KEYS, Outcome, Promise, Verdict, Window};

    const FAULT: Window = Window { from: 100_000, to: 110_000, out: 115_000 };

    fn judge(promise: Promise, copies: &[(u64, i64)]) -> Verdict {
        let mut outcome = Outcome::new(promise);
        copies.iter().for_each(|(number, at)| outcome.came(*number, *at));
        outcome.judge(&[1, 2].into(), &[FAULT], &[].into())
    }

    #[test]
    fn what_went_in_twice_may_come_out_twice() {
        let mut outcome = Outcome::new(Promise::Once);
        [1, 2, 1].into_iter().for_each(|number| outcome.came(number, 1));
        assert_eq!(outcome.twice(), [1].into());
        assert!(outcome.judge(&[1, 2].into(), &[], &outcome.twice()).is_good());
        assert!(!outcome.judge(&[1, 2].into(), &[], &[2].into()).is_good());
    }

    #[test]
    fn what_is_acknowledged_and_does_not_come_is_lost() {
        let verdict = judge(Promise::AtLeastOnce, &[(1, 50_000), (3, 50_000)]);
        assert_eq!((verdict.lost.as_slice(), verdict.is_good()), (&[2][..], false));
        assert!(judge(Promise::Once, &[(1, 1), (2, 2)]).is_good());
    }

    #[test]
    fn a_second_copy_needs_a_fault_and_a_group_that_may() {
        let with = |promise, first, second| judge(promise, &[(1, first), (2, first), (1, second)]);
        for (first, second, good) in [
            (96_000, 101_000, true),
            (105_000, 137_000, true),
            (94_000, 101_000, false),
            (105_000, 139_000, false),
            (50_000, 50_001, false),
        ] {
            let verdict = with(Promise::AtLeastOnce, first, second);
            assert_eq!((verdict.repeated, verdict.is_good()), (1, good), "{first} {second}");
        }
        assert!(!with(Promise::Once, 99_000, 101_000).is_good());
    }

    #[test]
    fn first_copies_of_a_key_must_rise_and_others_need_not() {
        let rising = [(1, 1), (2, 2), (1 + KEYS, 100_001), (1, 100_002), (1 + 2 * KEYS, 100_003)];
        assert_eq!(judge(Promise::AtLeastOnce, &rising).inversions, []);
        let falling = [(1 + KEYS, 1), (2, 1), (1, 2)];
        assert_eq!(judge(Promise::AtLeastOnce, &falling).inversions, [(1 + KEYS, 1)]);
    }
}
