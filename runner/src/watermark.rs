//! How far a partition is done: up to the last offset before which nothing is open.
//!
//! Records may be done in any order; only what is done without a gap is committed, so that whoever
//! reads the partition next misses none.

use crate::ahead;
use std::collections::VecDeque;

/// The offsets that were taken in and are not all done.
#[derive(Debug, Default)]
pub struct Watermark {
    /// In ascending order, the first one open.
    open: VecDeque<(i64, bool)>,
    done: Option<i64>,
}

impl Watermark {
    /// A record was read; answers whether it is behind all those before.
    #[must_use]
    pub fn take(&mut self, offset: i64) -> bool {
        let last = self.open.back().map_or(self.done, |(last, _)| Some(*last));
        let grows = last.is_none_or(|last| last < offset);
        if grows {
            self.open.push_back((offset, false));
        }
        grows
    }

    /// A record that was read is done.
    pub fn done(&mut self, offset: i64) {
        self.all_done(&[offset]);
    }

    /// The records of a batch that are done, in ascending order.
    pub fn all_done(&mut self, offsets: &[i64]) {
        // Mostly they are the next ones: then nothing is looked for.
        let mut place = match offsets.first() {
            Some(first) => self.open.partition_point(|(offset, _)| offset < first),
            None => return,
        };
        for done in offsets {
            while let Some((offset, open)) = self.open.get_mut(place) {
                if *offset > *done {
                    break;
                }
                place += 1;
                if *offset == *done {
                    *open = true;
                    break;
                }
            }
        }
        while let Some((offset, _)) = self.open.pop_front_if(|(_, done)| *done) {
            self.done = Some(offset);
        }
        ahead::give_back(&mut self.open);
    }

    /// The last offset before which, and with which, all is done.
    #[must_use]
    pub fn reached(&self) -> Option<i64> {
        self.done
    }

    /// The first record that is not done.
    #[must_use]
    pub fn oldest(&self) -> Option<i64> {
        self.open.front().map(|(offset, _)| *offset)
    }

    /// Whether no record was read yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.done.is_none() && self.open.is_empty()
    }

    /// How many records were read since the first that is not done.
    #[must_use]
    pub fn span(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Watermark;
    use proptest::prelude::*;

    #[test]
    fn a_gap_holds_what_comes_after_it() {
        let mut watermark = Watermark::default();
        assert!([10, 11, 15, 16].into_iter().all(|offset| watermark.take(offset)));
        let mut after = |offset| {
            watermark.done(offset);
            (watermark.reached(), watermark.oldest(), watermark.span())
        };
        assert_eq!(after(15), (None, Some(10), 4));
        assert_eq!(after(10), (Some(10), Some(11), 3));
        assert_eq!(after(99), (Some(10), Some(11), 3), "it was never read");
        assert_eq!(after(11), (Some(15), Some(16), 1));
        assert_eq!(after(16), (Some(16), None, 0));
    }

    #[test]
    fn what_was_read_before_is_not_taken_again() {
        let mut watermark = Watermark::default();
        assert_eq!([5, 6, 9].map(|offset| watermark.take(offset)), [true; 3]);
        assert_eq!([0, 6, 9].map(|offset| watermark.take(offset)), [false; 3]);
        watermark.all_done(&[5, 6, 9]);
        assert_eq!([8, 9, 10].map(|offset| watermark.take(offset)), [false, false, true]);
        assert_eq!((watermark.reached(), watermark.oldest()), (Some(9), Some(10)));
    }

    proptest! {
        #[test]
        fn a_batch_is_done_as_its_records_are(
            done in prop::collection::vec(prop::collection::btree_set(0_i64..40, 0..20), 1..6),
        ) {
            let (mut one, mut all) = (Watermark::default(), Watermark::default());
            (0..40).filter(|offset| offset % 3 != 1).for_each(|offset| assert!(one.take(offset) && all.take(offset)));
            for batch in done {
                let batch: Vec<i64> = batch.into_iter().collect();
                batch.iter().for_each(|offset| one.done(*offset));
                all.all_done(&batch);
                prop_assert_eq!((one.reached(), one.oldest(), one.span()), (all.reached(), all.oldest(), all.span()));
            }
        }

        #[test]
        fn whatever_the_order_nothing_open_is_passed(
            mut order in Just((0_i64..60).collect::<Vec<_>>()).prop_shuffle(), until in 0_usize..60,
        ) {
            let mut watermark = Watermark::default();
            assert!((0..60).all(|offset| watermark.take(offset)));
            order.truncate(until);
            for (count, offset) in order.iter().enumerate() {
                watermark.done(*offset);
                let done = &order[..=count];
                let expected = (0..60).take_while(|offset| done.contains(offset)).last();
                prop_assert_eq!(watermark.reached(), expected);
            }
        }
    }
}
