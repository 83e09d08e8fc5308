//! Which records may be worked on now, as `ordering` says, and which wait for others.
//!
//! `partition`: one batch after the other, or beside one that has handed over. `key`: records of one
//! key one after the other, other keys beside them; records without a key wait for nobody. `none`:
//! nobody waits.

use crate::{ahead, entry::Entry};
use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};
use tidemill_api::{Batch as Limits, Ordering};

/// So many records that wait for one of their key in work keep the memory of those that came with them, 64 KiB each
/// at most; further ones that come have their own.
const COMPANY: usize = 100;
/// What a key costs that has records, beside them: its place among the others, itself, room for a few records, its turn.
const LINE: usize = size_of::<(Bytes, Line)>() + 3 * size_of::<Entry>() + size_of::<Item>();
/// What a header costs beside its bytes: its place in a list, and two allocations.
const HEADER: usize = size_of::<(String, Option<Vec<u8>>)>() + 2 * 16;

/// Records that were read and are not in work.
#[derive(Debug)]
pub struct Lanes {
    order: Order,
    /// What may be handed out now.
    ready: Amount,
    /// All that was taken in and is not finished.
    held: Amount,
    /// What is in work.
    working: Amount,
}

/// So many records of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many headers they have: each costs memory beside its bytes.
    pub headers: usize,
}

#[derive(Debug)]
enum Order {
    Partition { waiting: VecDeque<Entry>, busy: bool },
    Key { lines: HashMap<Bytes, Line>, ready: VecDeque<Item> },
    None { waiting: VecDeque<Entry> },
}

/// The records of one key.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Entry>,
    amount: Amount,
    busy: bool,
    /// Those in work rest, and what waits for them keeps nothing that came with it.
    rests: bool,
}

#[derive(Debug)]
enum Item {
    Line(Bytes),
    Loose(Entry),
}

/// Records for one invocation; it is given back when they are done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records, each after those that it has to wait for.
    pub records: Vec<Entry>,
    amount: Amount,
    keys: Vec<Bytes>,
}

/// What a batch leaves behind while it is in work.
#[derive(Debug, Default)]
pub struct Ticket {
    amount: Amount,
    keys: Vec<Bytes>,
}

impl Lanes {
    /// No records.
    #[must_use]
    pub fn new(ordering: Ordering) -> Self {
        let order = match ordering {
            Ordering::Partition => Order::Partition { waiting: VecDeque::new(), busy: false },
            Ordering::Key => Order::Key { lines: HashMap::new(), ready: VecDeque::new() },
            Ordering::None => Order::None { waiting: VecDeque::new() },
        };
        Self { order, ready: Amount::default(), held: Amount::default(), working: Amount::default() }
    }

    /// Takes in a record, the next of its partition.
    pub fn push(&mut self, mut record: Entry) {
        let one = Amount::one(&record);
        let blocked = self.waiting().records - self.ready.records;
        self.held.add(one);
        match &mut self.order {
            Order::Partition { waiting, busy } => {
                waiting.push_back(record);
                if *busy {
                    return;
                }
            }
            Order::None { waiting } => waiting.push_back(record),
            Order::Key { lines, ready } => {
                let Some(key) = record.key() else {
                    ready.push_back(Item::Loose(record));
                    self.ready.add(one);
                    return;
                };
                if let Some(line) = lines.get_mut(key) {
                    if line.busy && (line.rests || blocked >= COMPANY) {
                        record.part();
                    }
                    line.waiting.push_back(record);
                    line.amount.add(one);
                    if line.busy {
                        return;
                    }
                } else {
                    // By itself: it stays for as long as any of its records, and does not keep all that lie about it.
                    let key = Bytes::copy_from_slice(key);
                    lines.insert(key.clone(), Line { waiting: [record].into(), amount: one, ..Line::default() });
                    ready.push_back(Item::Line(key));
                }
            }
        }
        self.ready.add(one);
    }

    /// What may be handed out now.
    #[must_use]
    pub fn ready(&self) -> Amount {
        self.ready
    }

    /// All that was taken in and is not finished.
    #[must_use]
    pub fn held(&self) -> Amount {
        self.held
    }

    /// What is not in work.
    #[must_use]
    pub fn waiting(&self) -> Amount {
        let mut waiting = self.held;
        waiting.take(self.working);
        waiting
    }

    /// How much memory that takes which is not in work and does not wait for a key either.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        match &self.order {
            Order::Partition { .. } | Order::None { .. } => self.waiting().memory(0),
            Order::Key { lines, ready } => self.ready.memory(lines.len().min(ready.len())),
        }
    }

    /// How much memory that takes which was taken in and is not finished.
    #[must_use]
    pub fn memory(&self) -> u64 {
        match &self.order {
            Order::Partition { .. } | Order::None { .. } => self.held.memory(0),
            Order::Key { lines, .. } => self.held.memory(lines.len()),
        }
    }

    /// Whether a whole batch may be handed out now.
    #[must_use]
    pub fn has_full(&self, limits: &Limits) -> bool {
        self.ready.fills(limits)
    }

    /// The next batch of what may be handed out; at least one record where there is any.
    pub fn hand_out(&mut self, limits: &Limits) -> Option<Batch> {
        let mut batch = Batch::default();
        match &mut self.order {
            Order::Partition { waiting, busy } => {
                if *busy {
                    return None;
                }
                batch.fill(waiting, limits);
                *busy = !batch.records.is_empty();
                // What is left waits for it.
                self.ready = Amount::default();
            }
            Order::None { waiting } => {
                batch.fill(waiting, limits);
                self.ready.take(batch.amount);
            }
            Order::Key { lines, ready } => {
                while let Some(item) = ready.pop_front() {
                    match item {
                        Item::Loose(record) => {
                            let one = Amount::one(&record);
                            if let Some(record) = batch.push(record, limits) {
                                ready.push_front(Item::Loose(record));
                                break;
                            }
                            self.ready.take(one);
                        }
                        Item::Line(key) => {
                            let line = lines.get_mut(&key).expect("a line that is ready is there");
                            let before = batch.records.len();
                            let all = line.amount;
                            line.amount.take(batch.fill(&mut line.waiting, limits));
                            if batch.records.len() == before {
                                ready.push_front(Item::Line(key));
                                break;
                            }
                            line.busy = true;
                            // Its other records wait for these, and are not ready any more.
                            self.ready.take(all);
                            batch.keys.push(key);
                        }
                    }
                }
                ahead::give_back(ready);
            }
        }
        self.working.add(batch.amount);
        (!batch.records.is_empty()).then_some(batch)
    }

    /// What these records hold up while they are in work or rest.
    #[must_use]
    pub fn ticket<'a>(&self, records: impl IntoIterator<Item = &'a Entry>) -> Ticket {
        let mut ticket = Ticket::default();
        let mut keys = HashSet::new();
        for record in records {
            ticket.amount.add(Amount::one(record));
            if let (Order::Key { .. }, Some(key)) = (&self.order, record.key()) {
                keys.insert(key);
            }
        }
        ticket.keys = keys.into_iter().map(Bytes::copy_from_slice).collect();
        ticket
    }

    /// Those records rest: what waits for their keys does not keep the memory of what came with it.
    pub fn rests(&mut self, ticket: &Ticket) {
        if let Order::Key { lines, .. } = &mut self.order {
            for key in &ticket.keys {
                let Some(line) = lines.get_mut(key).filter(|line| !line.rests) else { continue };
                line.rests = true;
                line.waiting.iter_mut().for_each(Entry::part);
            }
        }
    }

    /// What is not in work is for somebody else.
    pub fn leave(&mut self) {
        match &mut self.order {
            Order::Partition { waiting, .. } | Order::None { waiting } => *waiting = VecDeque::new(),
            Order::Key { lines, ready } => {
                *ready = VecDeque::new();
                lines.retain(|_, line| line.busy);
                for line in lines.values_mut() {
                    line.waiting = VecDeque::new();
                    line.amount = Amount::default();
                }
            }
        }
        self.held = self.working;
        self.ready = Amount::default();
    }

    /// Whether records wait for the batch in work, in the order of the partition.
    #[must_use]
    pub fn in_turn(&self) -> bool {
        matches!(self.order, Order::Partition { busy: true, .. })
    }

    /// What waits for the batch in work, in the order of the partition, may be handed out after all.
    pub fn hand_over(&mut self) {
        if let Order::Partition { busy, .. } = &mut self.order {
            *busy = false;
            self.ready = self.held;
            self.ready.take(self.working);
        }
    }

    /// A batch is done: what waited for it may be handed out.
    pub fn finish(&mut self, ticket: Ticket) {
        self.held.take(ticket.amount);
        self.working.take(ticket.amount);
        match &mut self.order {
            Order::None { .. } => {}
            // What follows it is in work already, or may be.
            Order::Partition { .. } if self.working.records > 0 => {}
            Order::Partition { .. } => self.hand_over(),
            Order::Key { lines, ready } => {
                for key in ticket.keys {
                    let Some(line) = lines.get_mut(&key) else { continue };
                    line.busy = false;
                    line.rests = false;
                    if line.waiting.is_empty() {
                        lines.remove(&key);
                    } else {
                        self.ready.add(line.amount);
                        ready.push_back(Item::Line(key));
                    }
                }
                if lines.capacity() > ahead::USUAL && lines.len() < lines.capacity() / 8 {
                    lines.shrink_to(lines.len() * 2);
                }
            }
        }
    }
}

impl Batch {
    /// The records, and what is left to give back.
    #[must_use]
    pub fn split(self) -> (Vec<Entry>, Ticket) {
        (self.records, Ticket { amount: self.amount, keys: self.keys })
    }

    /// Whether there is room for so many bytes, beside what it has and `more`.
    ///
    /// A batch takes its first record whatever its size: what is too large for any batch is for
    /// the failure destination to have, not for the reader to wait on.
    fn has_room(&self, more: Amount, size: u64, limits: &Limits) -> bool {
        let records = self.records.len() + more.records;
        let bytes = self.amount.bytes + more.bytes + size;
        records == 0 || records < limits.max_records as usize && bytes <= limits.max_bytes.get()
    }

    /// Takes the record, or hands it back where there is no room for it.
    fn push(&mut self, record: Entry, limits: &Limits) -> Option<Entry> {
        if !self.has_room(Amount::default(), record.size(), limits) {
            return Some(record);
        }
        self.amount.add(Amount::one(&record));
        self.records.push(record);
        None
    }

    /// Takes from the front what there is room for; answers how much that was.
    fn fill(&mut self, waiting: &mut VecDeque<Entry>, limits: &Limits) -> Amount {
        let mut taken = Amount::default();
        for record in waiting.iter() {
            if !self.has_room(taken, record.size(), limits) {
                break;
            }
            taken.add(Amount::one(record));
        }
        self.records.extend(waiting.drain(..taken.records));
        ahead::give_back(waiting);
        self.amount.add(taken);
        taken
    }
}

impl Ticket {
    /// All but what records of it that are not done hold up.
    #[must_use]
    pub fn without(mut self, left: &Self) -> Self {
        self.amount.take(left.amount);
        let held: HashSet<&Bytes> = left.keys.iter().collect();
        self.keys.retain(|key| !held.contains(key));
        self
    }
}

impl Amount {
    fn one(record: &Entry) -> Self {
        Self { records: 1, bytes: record.size(), headers: record.headers().len() }
    }

    /// How much memory they take beside so many keys.
    fn memory(self, keys: usize) -> u64 {
        self.bytes + (self.records * size_of::<Entry>() + self.headers * HEADER + keys * LINE) as u64
    }

    /// All of them.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut amount = Self::default();
        records.into_iter().for_each(|record| amount.add(Self::one(record)));
        amount
    }

    /// Whether it is all that a batch may have.
    #[must_use]
    pub fn fills(self, limits: &Limits) -> bool {
        self.records >= limits.max_records as usize || self.bytes >= limits.max_bytes.get()
    }

    /// Whether it is more than a batch may have.
    #[must_use]
    pub fn exceeds(self, limits: &Limits) -> bool {
        self.records > limits.max_records as usize || self.bytes > limits.max_bytes.get()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.headers += other.headers;
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
        self.headers -= other.headers;
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Lanes};
    use crate::{
        entry::{Entry, copy},
        record::Record,
    };
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, VecDeque};
    use tidemill_api::{Batch as Limits, Duration, Ordering};

    fn limits(max_records: u32, max_bytes: u64) -> Limits {
        let max_bytes = max_bytes.to_string().parse().expect("a size");
        Limits { max_records, window: Duration::from_secs(0), max_bytes, span_partitions: false }
    }

    fn record(offset: i64, key: Option<u8>, size: usize) -> Entry {
        let key = key.map(|key| Bytes::from(vec![key]));
        Entry::from(Record { offset, key, value: Some(Bytes::from(vec![0; size])), ..Record::default() })
    }

    fn offsets(records: &[Entry]) -> Vec<i64> {
        records.iter().map(Entry::offset).collect()
    }

    #[test]
    fn limits_hold() {
        let cases = [
            (vec![1, 1, 1, 1, 1], 2, 100, vec![2, 2, 1]),
            (vec![60, 60, 10], 10, 100, vec![1, 2]),
            (vec![500, 1], 10, 100, vec![1, 1]),
            (vec![50, 50, 1], 10, 100, vec![2, 1]),
        ];
        for (sizes, count, bytes, expected) in cases {
            let mut lanes = Lanes::new(Ordering::None);
            (0..).zip(&sizes).for_each(|(offset, size)| lanes.push(record(offset, None, *size)));
            let batches = std::iter::from_fn(|| lanes.hand_out(&limits(count, bytes)));
            assert_eq!(batches.map(|batch| batch.records.len()).collect::<Vec<_>>(), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_partition_has_one_batch_in_work() {
        let mut lanes = Lanes::new(Ordering::Partition);
        (0..5).for_each(|offset| lanes.push(record(offset, None, 1)));
        let (first, ticket) = lanes.hand_out(&limits(2, 100)).expect("records wait").split();
        assert_eq!(offsets(&first), [0, 1]);
        lanes.push(record(5, None, 1));
        assert_eq!((lanes.ready(), lanes.hand_out(&limits(2, 100))), (Amount::default(), None));
        lanes.finish(ticket);
        assert_eq!(lanes.ready(), Amount { records: 4, bytes: 4, headers: 0 });
        assert_eq!(offsets(&lanes.hand_out(&limits(9, 100)).expect("records wait").records), [2, 3, 4, 5]);
    }

    #[test]
    fn a_key_waits_for_itself_only() {
        let mut lanes = Lanes::new(Ordering::Key);
        for (offset, key) in [(0, 1), (1, 1), (2, 2), (3, 1), (4, 3)] {
            lanes.push(record(offset, Some(key), 1));
        }
        let next = |lanes: &mut Lanes| {
            let (records, ticket) = lanes.hand_out(&limits(1, 100)).expect("records wait").split();
            (records[0].offset(), ticket)
        };
        let (first, one) = next(&mut lanes);
        let (second, two) = next(&mut lanes);
        let (third, _three) = next(&mut lanes);
        assert_eq!((first, second, third), (0, 2, 4));
        assert_eq!(lanes.hand_out(&limits(1, 100)), None, "1 waits for 0");
        lanes.push(record(5, None, 1));
        assert_eq!(next(&mut lanes).0, 5, "without a key it waits for nobody");
        lanes.finish(two);
        assert_eq!(lanes.ready().records, 0);
        lanes.finish(one);
        assert_eq!((lanes.ready().records, next(&mut lanes).0), (2, 1));
    }

    #[test]
    fn what_is_left_to_others_is_not_handed_out() {
        for ordering in [Ordering::Partition, Ordering::Key, Ordering::None] {
            let mut lanes = Lanes::new(ordering);
            let keys = [Some(1), Some(1), Some(2), None, Some(3)];
            (0..).zip(keys).for_each(|(offset, key)| lanes.push(record(offset, key, 1)));
            let (_, ticket) = lanes.hand_out(&limits(1, 100)).expect("records wait").split();
            lanes.leave();
            assert_eq!((lanes.held().records, lanes.ready(), lanes.ahead()), (1, Amount::default(), 0), "{ordering:?}");
            assert_eq!(lanes.hand_out(&limits(9, 100)), None, "{ordering:?}");
            lanes.finish(ticket);
            assert_eq!((lanes.memory(), lanes.hand_out(&limits(9, 100))), (0, None), "{ordering:?}");
        }
    }

    #[test]
    fn many_that_wait_for_a_key_do_not_keep_what_came_with_them() {
        let one = |offset| Record { topic: "raw".into(), offset, key: Some("slow".into()), ..Record::default() };
        // Each comes with another of 1,000 B.
        let other = |offset| Record { key: None, value: Some(vec![0; 1_000].into()), ..one(offset) };
        let mut lanes = Lanes::new(Ordering::Key);
        lanes.push(one(0).into());
        let (_, ticket) = lanes.hand_out(&limits(1, 10_000)).expect("records wait").split();
        for offset in 1..=1_000 {
            copy(&"raw".into(), 0, &[one(2 * offset), other(2 * offset + 1)], |entry| lanes.push(entry));
            lanes.hand_out(&limits(1, 10_000)).expect("the other one waits for nobody");
        }
        lanes.finish(ticket);
        let waited = lanes.hand_out(&limits(1_000, 10_000)).expect("records wait").records;
        assert_eq!(waited.len(), 1_000);
        let kept: usize = waited.iter().map(Entry::kept).sum();
        assert!(kept <= super::COMPANY * 1_004 + 1_000 * 4, "{kept} bytes");
    }

    #[test]
    fn what_waits_for_a_key_that_rests_keeps_nothing_else() {
        let one = |offset| Record { topic: "raw".into(), offset, key: Some("slow".into()), ..Record::default() };
        let other = |offset| Record { key: Some("other".into()), value: Some(vec![0; 1_000].into()), ..one(offset) };
        let mut lanes = Lanes::new(Ordering::Key);
        let records: Vec<_> = (0..50).flat_map(|number| [one(2 * number), other(2 * number + 1)]).collect();
        copy(&"raw".into(), 0, &records, |entry| lanes.push(entry));
        let (resting, _) = lanes.hand_out(&limits(1, 10_000)).expect("records wait").split();
        let ticket = lanes.ticket(&resting);
        lanes.rests(&ticket);
        // Nor does what comes meanwhile.
        copy(&"raw".into(), 0, &[one(100), other(101)], |entry| lanes.push(entry));
        // Of the other key, which does not rest, nothing is copied.
        let (others, _) = lanes.hand_out(&limits(51, 100_000)).expect("records wait").split();
        assert!(others.iter().all(|entry| entry.key() == Some(b"other".as_slice()) && entry.kept() > 1_005));
        lanes.finish(ticket);
        let waited = lanes.hand_out(&limits(50, 10_000)).expect("records wait").records;
        assert_eq!(offsets(&waited), (1..=50).map(|number| 2 * number).collect::<Vec<i64>>());
        assert!(waited.iter().all(|entry| entry.kept() == 4));
    }

    proptest! {
        /// Batches come and finish in any order: nothing is lost, no key is ever in work twice or
        /// out of its order, and what is counted is true.
        #[test]
        fn nothing_is_lost_and_no_order_is_broken(
            ordering in prop::sample::select(vec![Ordering::Partition, Ordering::Key, Ordering::None]),
            records in prop::collection::vec((prop::option::of(0_u8..5), 0_usize..50), 1..80),
            moves in prop::collection::vec((0_u8..4, 0_usize..8), 1..300),
            count in 1_u32..6,
        ) {
            let limits = limits(count, 60);
            let mut lanes = Lanes::new(ordering);
            let mut coming: VecDeque<Entry> =
                (0..).zip(&records).map(|(offset, (key, size))| record(offset, *key, *size)).collect();
            let mut working = Vec::new();
            let mut started: Vec<Entry> = Vec::new();
            let mut handed_over = true;
            let mut step = |action: u8, which: usize, lanes: &mut Lanes| -> Result<(), TestCaseError> {
                match action {
                    // The last batch hands over where no other is before it.
                    3 => if ordering == Ordering::Partition && working.len() == 1 {
                        lanes.hand_over();
                        handed_over = true;
                    },
                    0 => coming.pop_front().into_iter().for_each(|record| lanes.push(record)),
                    1 => if let Some(batch) = lanes.hand_out(&limits) {
                        let (records, ticket) = batch.split();
                        prop_assert!(records.len() <= count as usize);
                        for (other, _) in &working {
                            let other: &Vec<Entry> = other;
                            let shares = |one: &Entry| other.iter().any(|two| one.key().is_some() && one.key() == two.key());
                            prop_assert!(!(ordering == Ordering::Key && records.iter().any(shares)));
                        }
                        prop_assert!(ordering != Ordering::Partition || working.is_empty() || handed_over && working.len() == 1);
                        handed_over = false;
                        started.extend(records.iter().cloned());
                        working.push((records, ticket));
                    },
                    _ => if !working.is_empty() {
                        let (_, ticket) = working.remove(which % working.len());
                        lanes.finish(ticket);
                    },
                }
                Ok(())
            };
            for (action, which) in moves {
                step(action, which, &mut lanes)?;
            }
            for _ in 0..3 * records.len() {
                for action in 0..3 {
                    step(action, 0, &mut lanes)?;
                }
            }
            prop_assert_eq!((lanes.held(), lanes.ready()), (Amount::default(), Amount::default()));
            let mut by_key: BTreeMap<Option<Bytes>, Vec<i64>> = BTreeMap::new();
            started.iter().for_each(|record| by_key.entry(record.key().map(Bytes::copy_from_slice)).or_default().push(record.offset()));
            for offsets in by_key.values() {
                prop_assert!(ordering == Ordering::None || offsets.is_sorted());
            }
            let mut all = offsets(&started);
            all.sort_unstable();
            prop_assert_eq!(all, (0..).take(records.len()).collect::<Vec<i64>>());
        }
    }
}
