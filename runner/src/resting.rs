//! What is left of batches and rests between two attempts, while others are worked on.

use crate::{
    entry::Entry,
    lanes::Amount,
    retry::{Again, Work},
};
use std::collections::BTreeMap;
use tidemill_api::Batch as Limits;
use tokio::time::Instant;

/// Pieces of batches in the order in which they return.
#[derive(Debug, Default)]
pub struct Resting {
    due: BTreeMap<(Instant, u64), Vec<Work>>,
    /// Tells apart what is due at the same time.
    number: u64,
}

impl Resting {
    /// Takes in what failed.
    ///
    /// Records that the function has named join those of other batches that return within the
    /// second half of their own pause: an invocation has its price however few records it carries,
    /// and a few of each batch fail where many do.
    pub fn push(&mut self, again: Again, now: Instant, limits: &Limits) {
        let Again { mut stack, after } = again;
        let due = now + after;
        if let [work] = &mut *stack
            && work.named
        {
            let near = (now + after / 2, 0)..=(due, u64::MAX);
            let others = self.due.range_mut(near).rev().filter_map(|(_, stack)| match &mut **stack {
                [other] => Some(other),
                _ => None,
            });
            let mut others = others.filter(|other| fits(other, work, limits));
            if let Some(other) = others.next() {
                other.records.append(&mut work.records);
                // Records of one key were together before, in their order.
                other.records.sort_by_key(Entry::offset);
                return;
            }
        }
        self.number += 1;
        self.due.insert((due, self.number), stack);
    }

    /// When the next piece returns.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next piece whose pause is over.
    pub fn take_due(&mut self, now: Instant) -> Option<Vec<Work>> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

fn fits(one: &Work, other: &Work, limits: &Limits) -> bool {
    one.named && one.attempts == other.attempts && !Amount::of(one.records.iter().chain(&other.records)).exceeds(limits)
}

#[cfg(test)]
mod tests {
    use super::{Again, Resting, Work};
    use crate::{entry::Entry, record::Record};
    use std::time::Duration;
    use tidemill_api::Batch;
    use tokio::time::Instant;

    fn again(offsets: &[i64], attempts: u32, named: bool, millis: u64) -> Again {
        let records =
            offsets.iter().map(|offset| Entry::from(Record { offset: *offset, ..Record::default() })).collect();
        Again { stack: vec![Work { records, attempts, named }], after: Duration::from_millis(millis) }
    }

    fn offsets(stack: Option<Vec<Work>>) -> Vec<i64> {
        stack.iter().flatten().flat_map(|work| &work.records).map(Entry::offset).collect()
    }

    #[test]
    fn what_was_named_returns_with_what_returns_soon_and_nothing_returns_late() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let limits = Batch { max_records: 4, ..Batch::default() };
        let mut resting = Resting::default();
        assert_eq!((resting.next(), resting.take_due(at(9_999))), (None, None));
        for (again, now) in [
            (again(&[7], 1, true, 100), 0),     // due at 100
            (again(&[3, 9], 1, true, 100), 40), // joins it: 100 is in 90..=140
            (again(&[4], 2, true, 100), 41),    // another attempt: 141
            (again(&[5], 1, false, 100), 42),   // failed with its batch: 142
            (again(&[1, 2], 1, true, 100), 50), // too many for it: 150
            (again(&[6], 1, true, 400), 50),    // too early for it: 450
        ] {
            resting.push(again, at(now), &limits);
        }
        assert_eq!(resting.take_due(at(99)), None);
        assert_eq!(resting.next(), Some(at(100)));
        assert_eq!(offsets(resting.take_due(at(100))), [3, 7, 9]);
        for (now, expected) in [(141, vec![4]), (142, vec![5]), (150, vec![1, 2]), (449, vec![]), (450, vec![6])] {
            assert_eq!(offsets(resting.take_due(at(now))), expected, "at {now}");
        }
        assert_eq!(resting.next(), None);
    }
}
