//! A record from when it is read until it has its outcome.
//!
//! Records are copied out of librdkafka's memory, which has 300 bytes for each beside its own, into pieces that
//! those which came together share: a record costs no allocation.

use crate::{
    decode::Decoded,
    record::{HeaderList, Headers, Raw, Record, Source},
};
use std::{fmt, ops::Range, sync::Arc};

/// The bytes of so many records make a piece.
const PIECE: usize = 64 << 10;

/// A record that waits, is in work or rests.
#[derive(Clone)]
pub struct Entry {
    piece: Arc<Piece>,
    offset: i64,
    timestamp: i64,
    log_append_time: bool,
    /// Bytes of key, value and headers, which are looked at more often than these.
    size: u32,
    key: Option<Place>,
    value: Option<Place>,
    /// Mostly there are none.
    headers: Option<Arc<HeaderList>>,
    decoded: Option<Arc<Decoded>>,
}

/// Keys and values of records that came together.
struct Piece {
    topic: Arc<str>,
    partition: i32,
    bytes: Vec<u8>,
}

/// Where bytes are in a piece.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    length: u32,
}

/// Those records of a partition, copied.
pub fn copy(topic: &Arc<str>, partition: i32, mut records: &[impl Source], mut each: impl FnMut(Entry)) {
    while !records.is_empty() {
        let mut total = 0;
        let fits = records.iter().take_while(|record| {
            let before = total;
            total += length(record.key()) + length(record.value());
            before == 0 || total <= PIECE
        });
        let (these, others) = records.split_at(fits.count());
        records = others;
        let parts = || these.iter().flat_map(|record| [record.key(), record.value()]);
        let mut bytes = Vec::with_capacity(parts().map(length).sum());
        parts().flatten().for_each(|part| bytes.extend_from_slice(part));
        let piece = Arc::new(Piece { topic: topic.clone(), partition, bytes });
        let mut start = 0;
        for record in these {
            each(Entry::at(start, piece.clone(), record));
            start += length(record.key()) + length(record.value());
        }
    }
}

fn length(part: Option<&[u8]>) -> usize {
    part.map_or(0, <[u8]>::len)
}

impl Place {
    fn new(start: usize, length: usize) -> Self {
        let number = |number| u32::try_from(number).expect("Kafka has no records of gigabytes");
        Self { start: number(start), length: number(length) }
    }
}

impl From<Place> for Range<usize> {
    fn from(place: Place) -> Self {
        let start = place.start as usize;
        start..start + place.length as usize
    }
}

impl Entry {
    /// One record, copied by itself.
    #[must_use]
    pub fn new(topic: &Arc<str>, partition: i32, record: &impl Source) -> Self {
        let bytes = [record.key(), record.value()].map(Option::unwrap_or_default).concat();
        Self::at(0, Arc::new(Piece { topic: topic.clone(), partition, bytes }), record)
    }

    /// The record whose key and value are there.
    fn at(start: usize, piece: Arc<Piece>, record: &impl Source) -> Self {
        let place = |start, part: Option<&[u8]>| part.map(|part| Place::new(start, part.len()));
        let key = place(start, record.key());
        let value = place(start + length(record.key()), record.value());
        let (timestamp, log_append_time) = record.time();
        let headers = record.headers();
        let headers = (!headers.is_empty()).then(|| Arc::new(headers));
        let offset = record.offset();
        let entry = Self { piece, offset, timestamp, log_append_time, size: 0, key, value, headers, decoded: None };
        let size = u32::try_from(entry.raw().size()).expect("Kafka has no records of gigabytes");
        Self { size, ..entry }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.piece.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.piece.partition
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Unix milliseconds; 0 where the record has none.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.into()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.bytes(self.key)
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        self.headers.as_ref().map_or(&[], |headers| headers)
    }

    /// All of it as it was read.
    #[must_use]
    pub fn raw(&self) -> Raw<'_> {
        Raw {
            offset: self.offset,
            timestamp: self.timestamp,
            log_append_time: self.log_append_time,
            key: self.bytes(self.key),
            value: self.bytes(self.value),
            headers: self.headers(),
        }
    }

    fn bytes(&self, place: Option<Place>) -> Option<&[u8]> {
        place.map(|place| &self.piece.bytes[Range::from(place)])
    }

    /// All of it as the function gets it.
    #[must_use]
    pub fn seen(&self) -> Raw<'_> {
        let raw = self.raw();
        self.decoded().map_or(raw, |decoded| decoded.instead_of(raw))
    }

    /// Whether there is more to it than its key and value: headers, or what a schema has made of it.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.headers.is_some() || self.decoded.is_some()
    }

    /// What a schema has made of it.
    #[must_use]
    pub fn decoded(&self) -> Option<&Decoded> {
        self.decoded.as_deref()
    }

    /// The function gets what a schema has made of it.
    pub fn decode(&mut self, decoded: Decoded) {
        self.decoded = Some(Arc::new(decoded));
    }

    /// The record as it was read.
    #[must_use]
    pub fn record(&self) -> Record {
        self.raw().copy(self.piece.topic.clone(), self.partition())
    }

    /// Has a piece of its own, for a time in which what came with it may go.
    pub fn part(&mut self) {
        let parts = [self.bytes(self.key), self.bytes(self.value)].map(Option::unwrap_or_default);
        if parts.iter().map(|part| part.len()).sum::<usize>() < self.piece.bytes.len() {
            let bytes = parts.concat();
            let end = self.key.map_or(0, |key| key.length);
            self.key = self.key.map(|key| Place { start: 0, ..key });
            self.value = self.value.map(|value| Place { start: end, ..value });
            self.piece = Arc::new(Piece { topic: self.piece.topic.clone(), partition: self.piece.partition, bytes });
        }
    }

    /// How many bytes stay in memory as long as it does.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.piece.bytes.len()
    }

    /// Whether it is of the same topic and partition.
    #[must_use]
    pub fn shares_partition(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.piece, &other.piece) || self.partition() == other.partition() && self.topic() == other.topic()
    }
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self::new(&record.topic, record.partition, &record)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.shares_partition(other) && self.raw() == other.raw() && self.decoded == other.decoded
    }
}

impl Eq for Entry {}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{} {}", self.topic(), self.partition(), self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, PIECE, copy};
    use crate::record::{Record, Source};
    use proptest::prelude::*;
    use std::{collections::BTreeMap, sync::Arc};

    prop_compose! {
        fn record()(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            value in prop::option::of((0_usize..4, any::<u8>())),
            headers in prop::collection::vec((".{0,3}", prop::option::of(prop::collection::vec(any::<u8>(), 0..4))), 0..3),
            (offset, timestamp, log_append_time) in any::<(i64, i64, bool)>(),
        ) -> Record {
            // Empty, small, of a third of a piece, and of more than one.
            let value = value.map(|(size, byte)| vec![byte; [0, 100, PIECE / 3, PIECE + 1][size]].into());
            Record { topic: "raw".into(), partition: 3, offset, timestamp, log_append_time, key: key.map(Into::into), value, headers }
        }
    }

    proptest! {
        /// Whatever it has or lacks, beside others or by itself, a record can be had as it was.
        #[test]
        fn a_record_is_what_it_was(records in prop::collection::vec(record(), 1..20)) {
            let mut entries = Vec::new();
            copy(&Arc::from("raw"), 3, &records, |entry| entries.push(entry));
            prop_assert_eq!(entries.len(), records.len());
            let mut pieces: BTreeMap<*const u8, (usize, u64)> = BTreeMap::new();
            for (entry, record) in entries.iter_mut().zip(&records) {
                prop_assert_eq!(&entry.record(), record);
                prop_assert_eq!(&*entry, &Entry::from(record.clone()));
                prop_assert_eq!((entry.size(), entry.key()), (record.size(), record.key.as_deref()));
                let own = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
                let piece = pieces.entry(entry.piece.bytes.as_ptr()).or_insert((entry.piece.bytes.len(), 0));
                prop_assert!(piece.0 <= PIECE || piece.0 == own || piece.1 == 0, "large pieces are of one record");
                piece.1 += own as u64;

                let mut alone = entry.clone();
                alone.part();
                prop_assert_eq!(&alone.record(), record);
                prop_assert_eq!(alone.piece.bytes.len(), own, "it keeps no others");
            }
            // Nothing is kept that is of no record.
            prop_assert!(pieces.values().all(|(bytes, of_records)| *bytes as u64 == *of_records));
        }
    }
}
