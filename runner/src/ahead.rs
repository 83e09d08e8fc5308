//! How far partitions read ahead of their function.
//!
//! Each may have a batch waiting beside those in work, and what the others leave of a room for all. A partition with a
//! backlog needs more than its batch where the others have none: librdkafka asks a broker for records once at a
//! time, for those partitions whose queue is short at that moment. Where none of these has any, the broker
//! keeps the question for `fetch.wait.max.ms`, and the partition with the backlog works on what it has.

use crate::lanes::Lanes;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tidemill_api::{Batch as Limits, Ordering};

/// How far is read past the first record that is not done, where there is room for it.
const AHEAD: usize = 50_000;
/// The most memory of one partition's records that are not done, beside a batch.
const AHEAD_BYTES: u64 = 16 << 20;
/// What all partitions together have ready, their batches included, until none may read beyond its own. What waits for
/// a key is not among it: that each may have, to find those of other keys.
const SPARE: u64 = 3 << 20;

/// What all partitions together keep, whatever it waits for, until none may have more than the bytes of a batch: a pod
/// has one limit however many partitions it has.
const TOGETHER: u64 = 64 << 20;

/// A queue that had more than so many keeps no room for eight times of what it has.
pub const USUAL: usize = 4_096;

/// What all partitions of a runner have.
#[derive(Debug, Default)]
pub struct Ahead {
    /// What waits, and for no key.
    ready: AtomicU64,
    /// All that is not done.
    memory: AtomicU64,
}

/// How far one partition reads.
#[derive(Debug)]
pub struct Reach {
    all: Arc<Ahead>,
    /// What it has of that.
    ready: u64,
    memory: u64,
    max_bytes: u64,
    /// The records that it may have whatever the others have.
    own: usize,
    /// And past the first that is not done.
    span: usize,
}

impl Reach {
    /// Nothing is read yet of a partition that has so many batches in work at once.
    #[must_use]
    pub fn new(all: Arc<Ahead>, limits: &Limits, ordering: Ordering, abreast: usize) -> Self {
        let own = limits.max_records as usize * (abreast + 1);
        // Where others need not wait for it, a record that is never done must not stop them.
        let span = if ordering == Ordering::Partition { own } else { own.max(AHEAD) };
        Self { all, ready: 0, memory: 0, max_bytes: limits.max_bytes.get(), own, span }
    }

    /// How many more records it may read: memory is bounded also where one record is never done.
    ///
    /// So many were read since the first that is not done. Nobody is woken where the others give room back: a
    /// partition that was refused any looks again with its next batch, or record, or after five seconds.
    pub fn room(&mut self, lanes: &Lanes, span: usize) -> usize {
        let ready = told(&self.all.ready, &mut self.ready, lanes.ahead());
        let memory = told(&self.all.memory, &mut self.memory, lanes.memory());
        let most = if memory < TOGETHER { self.max_bytes + AHEAD_BYTES } else { self.max_bytes };
        if self.memory >= most {
            return 0;
        }
        let spare = ready < SPARE;
        let (own, most) = if spare { (self.own.max(AHEAD), self.span.max(AHEAD)) } else { (self.own, self.span) };
        // Further than what can be handed out is read only past what waits for others.
        own.saturating_sub(lanes.ready().records).min(most.saturating_sub(span))
    }
}

/// Has the others know what is here instead of what was; answers what all have.
fn told(all: &AtomicU64, own: &mut u64, now: u64) -> u64 {
    let before = std::mem::replace(own, now);
    // Adding what is less wraps around, as it should.
    let change = now.wrapping_sub(before);
    all.fetch_add(change, Relaxed).wrapping_add(change)
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.all.ready.fetch_sub(self.ready, Relaxed);
        self.all.memory.fetch_sub(self.memory, Relaxed);
    }
}

/// Gives back the memory of a queue that was much longer once.
pub fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > USUAL && queue.len() < queue.capacity() / 8 {
        queue.shrink_to(queue.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, Ahead, Reach, SPARE, TOGETHER, USUAL, give_back};
    use crate::{entry::Entry, lanes::Lanes, record::Record};
    use bytes::Bytes;
    use std::{collections::VecDeque, sync::Arc};
    use tidemill_api::{Batch as Limits, Duration, Ordering};

    const RECORDS: usize = 100;
    const OWN: usize = 2 * RECORDS;

    fn limits() -> Limits {
        let max_bytes = "1048576".parse().expect("a size");
        Limits { max_records: 100, window: Duration::from_secs(0), max_bytes, span_partitions: false }
    }

    fn filled(ordering: Ordering, count: usize, size: usize) -> Lanes {
        let mut lanes = Lanes::new(ordering);
        let value = Some(Bytes::from(vec![0; size]));
        for offset in (0..).take(count) {
            lanes.push(Entry::from(Record { offset, value: value.clone(), ..Record::default() }));
        }
        lanes
    }

    #[test]
    fn a_partition_has_what_the_others_leave_and_its_own_whatever_they_have() {
        let all = Arc::new(Ahead::default());
        for ordering in [Ordering::Partition, Ordering::Key, Ordering::None] {
            let reach = || Reach::new(all.clone(), &limits(), ordering, 1);
            let (mut hot, mut other) = (reach(), reach());
            let nothing = Lanes::new(ordering);
            assert_eq!(hot.room(&nothing, 0), AHEAD, "nobody has anything");
            // Half of the room, then the rest of it.
            let size = SPARE as usize / 1_000 - size_of::<Entry>();
            let half = filled(ordering, 500, size);
            assert_eq!(hot.room(&half, 500), AHEAD - 500);
            let rest = filled(ordering, 501, size);
            assert_eq!(other.room(&rest, 501), 0, "{ordering:?}: it has more than its own, and the room is full");
            assert_eq!(hot.room(&half, 500), 0, "{ordering:?}");
            // Who has little may have its own.
            let mut third = reach();
            assert_eq!(third.room(&nothing, 0), OWN);
            assert_eq!(third.room(&filled(ordering, 10, 1), 10), OWN - 10);
            // A batch is in work, and as much as its own waits for it.
            let span = if ordering == Ordering::Partition { 0 } else { OWN };
            assert_eq!(third.room(&nothing, OWN), span, "{ordering:?}");
            // What one works off, or gives back, the others may have.
            assert_eq!(other.room(&nothing, 0), AHEAD);
            assert_eq!(third.room(&nothing, OWN), AHEAD - OWN);
            assert_eq!(other.room(&rest, 501), 0);
            drop(hot);
            assert_eq!(other.room(&rest, 501), AHEAD - 501);
        }
    }

    #[test]
    fn what_is_held_of_a_partition_has_an_end() {
        let mut reach = Reach::new(Arc::default(), &limits(), Ordering::None, 1);
        let mut lanes = filled(Ordering::None, 17, 1 << 20);
        assert_eq!(reach.room(&lanes, 17), 0);
        // In work it is no less.
        while lanes.hand_out(&limits()).is_some() {}
        assert_eq!(reach.room(&lanes, 17), 0);
    }

    #[test]
    fn what_is_held_of_all_partitions_has_an_end() {
        let all = Arc::new(Ahead::default());
        let stuck = |count| {
            let mut lanes = filled(Ordering::None, count, 1 << 20);
            while lanes.hand_out(&limits()).is_some() {}
            lanes
        };
        let (few, many) = (stuck(0), stuck(10));
        let mut reaches: Vec<_> =
            (0..TOGETHER / (10 << 20)).map(|_| Reach::new(all.clone(), &limits(), Ordering::None, 1)).collect();
        for reach in &mut reaches {
            assert!(reach.room(&many, 10) > 0, "there is less than all may have");
        }
        let mut last = Reach::new(all, &limits(), Ordering::None, 1);
        assert_eq!(last.room(&many, 10), 0);
        assert_eq!(reaches[0].room(&many, 10), 0, "who was there before has no more, too");
        assert!(reaches[0].room(&few, 0) > 0, "a batch is each one's own");
        assert!(last.room(&many, 10) > 0, "what one has done with, the others may have");
    }

    #[test]
    fn records_without_bytes_take_room_too() {
        let all = Arc::new(Ahead::default());
        let mut reach = Reach::new(all, &limits(), Ordering::None, 1);
        let most = (SPARE as usize - 1) / size_of::<Entry>();
        assert_eq!(reach.room(&filled(Ordering::None, most, 0), most), AHEAD - most);
        assert_eq!(reach.room(&filled(Ordering::None, most + 1, 0), most + 1), 0);
    }

    #[test]
    fn headers_and_keys_take_room_too() {
        let room = |lanes: &Lanes| Reach::new(Arc::default(), &limits(), Ordering::Key, 1).room(lanes, 0);
        let lanes = |count, key: fn(i64) -> i64, headers| {
            let mut lanes = Lanes::new(Ordering::Key);
            for offset in 0..count {
                let key = Some(Bytes::copy_from_slice(&key(offset).to_be_bytes()));
                let headers = vec![(String::new(), None); headers];
                lanes.push(Entry::from(Record { offset, key, headers, ..Record::default() }));
            }
            lanes
        };
        // As many of one key without headers are far from it.
        assert!(room(&lanes(10_000, |_| 0, 0)) > 0);
        assert_eq!(room(&lanes(10_000, |_| 0, 8)), 0);
        assert_eq!(room(&lanes(10_000, |offset| offset, 0)), 0);
        // Those in work take none of it.
        let mut lanes = lanes(10_000, |offset| offset, 8);
        let tickets: Vec<_> = std::iter::from_fn(|| lanes.hand_out(&limits())).map(|batch| batch.split().1).collect();
        assert_eq!((tickets.len(), room(&lanes)), (100, AHEAD));
        assert!(lanes.memory() > SPARE);
        tickets.into_iter().for_each(|ticket| lanes.finish(ticket));
        assert_eq!(lanes.memory(), 0);
    }

    #[test]
    fn what_waits_for_a_key_takes_no_room_from_others_and_has_an_end() {
        let all = Arc::new(Ahead::default());
        let reach = || Reach::new(all.clone(), &limits(), Ordering::Key, 1);
        let headers = vec![("header".to_owned(), Some(vec![0; 100])); 8];
        let record =
            |offset| Record { offset, key: Some("slow".into()), headers: headers.clone(), ..Record::default() };
        let mut lanes = Lanes::new(Ordering::Key);
        lanes.push(record(0).into());
        let _in_work = lanes.hand_out(&limits()).expect("a record waits");
        let (mut stuck, mut other) = (reach(), reach());
        let mut count = 1;
        while stuck.room(&lanes, count) > 0 {
            lanes.push(record(i64::try_from(count).expect("it is few")).into());
            count += 1;
        }
        // Headers are counted with what they cost: of their bytes alone there would be 17 MiB at 20,000.
        assert!((8_000..12_000).contains(&count), "{count}");
        assert_eq!(other.room(&Lanes::new(Ordering::Key), 0), AHEAD);
    }

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back() {
        let mut queue: VecDeque<u8> = (0..100).cycle().take(10 * USUAL).collect();
        queue.drain(..9 * USUAL);
        let (left, before) = (queue.clone(), queue.capacity());
        give_back(&mut queue);
        assert!(queue.capacity() < before / 2, "{before}, then {}", queue.capacity());
        assert_eq!(queue, left);
    }
}
