//! Whether a record was taken before, pure. Offsets alone don't say: a topic that is created
//! again, or another Kafka, counts from the beginning. What a record at an offset is never
//! changes, its timestamp included, so a timestamp that does not fit betrays another life.

use serde::{Deserialize, Serialize};

use crate::record::Record;

/// Where a record stands, and Kafka's timestamp of it in unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp.
    pub time: i64,
}

/// What is remembered of the records taken of one partition, since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    first: Point,
    last: Point,
    /// The latest timestamp of all records taken.
    latest: i64,
}

/// What a record is to what was taken before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It has not been taken.
    New,
    /// It was taken before.
    Before,
    /// It has not been taken, and its partition began anew: offsets before it mean nothing.
    Anew,
}

impl From<&Record<'_>> for Point {
    fn from(record: &Record<'_>) -> Self {
        Self { offset: record.offset(), time: record.time().timestamp_millis() }
    }
}

impl Life {
    /// Takes a record of a partition whose `life` so far is given. Offsets of a partition must
    /// not decrease but when it is redelivered from an earlier one on.
    pub fn take(life: &mut Option<Self>, record: Point) -> Taken {
        let Some(known) = life else {
            *life = Some(Self::begin(record));
            return Taken::New;
        };
        if record.offset > known.last.offset {
            known.last = record;
            known.latest = known.latest.max(record.time);
            Taken::New
        } else if known.holds(record) {
            Taken::Before
        } else {
            *life = Some(Self::begin(record));
            Taken::Anew
        }
    }

    fn begin(record: Point) -> Self {
        Self { first: record, last: record, latest: record.time }
    }

    /// Whether a record at or before the last one can be of this life.
    fn holds(&self, record: Point) -> bool {
        let same_or_elsewhere = |known: Point| known.offset != record.offset || known.time == record.time;
        same_or_elsewhere(self.first) && same_or_elsewhere(self.last) && record.time <= self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(life: &mut Option<Life>, offset: i64, time: i64) -> Taken {
        Life::take(life, Point { offset, time })
    }

    #[test]
    fn redelivery_is_known_whatever_the_order_of_timestamps() {
        let mut life = None;
        let records = [(5, 100), (6, 300), (9, 200)];
        for (offset, time) in records {
            assert_eq!(take(&mut life, offset, time), Taken::New);
        }
        let once = life;
        for (offset, time) in records {
            assert_eq!(take(&mut life, offset, time), Taken::Before, "{offset}");
        }
        assert_eq!(take(&mut life, 2, 50), Taken::Before, "before the first that was ever taken");
        assert_eq!(life, once);
        assert_eq!(take(&mut life, 10, 50), Taken::New, "above the last one time says nothing");
    }

    #[test]
    fn a_partition_that_begins_anew_is_told_by_its_timestamps() {
        let old = || {
            let mut life = None;
            (0..10).for_each(|offset| assert_eq!(take(&mut life, offset, 1000 + offset), Taken::New));
            life
        };
        for (offset, time, what) in
            [(0, 5, "the first differs"), (9, 7, "the last differs"), (4, 1010, "later than all")]
        {
            let mut life = old();
            assert_eq!(take(&mut life, offset, time), Taken::Anew, "{what}");
            assert_eq!(take(&mut life, offset, time), Taken::Before, "{what}");
            assert_eq!(take(&mut life, offset + 1, time), Taken::New, "{what}");
        }
        assert_eq!(take(&mut old(), 4, 999), Taken::Before, "what cannot be told counts as taken");
    }
}
