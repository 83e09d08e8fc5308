//! A record from when it is read until it has its outcome.
//!
//! Records are copied out of librdkafka's memory, which has 300 bytes for each beside its own, into pieces that
//! those which came together share: a record costs no allocation.

use crate::{
    decode::Decoded,
    record::{self, HeaderList, Raw, Record},
};
use std::{fmt, ops::Range, sync::Arc};
use tidemill_kafka::Message;

/// The bytes of so many records make a piece.
const PIECE: usize = 64 << 10;

/// A record that waits, is in work or rests.
#[derive(Clone)]
pub struct Entry {
    piece: Arc<Piece>,
    offset: i64,
    timestamp: i64,
    log_append_time: bool,
    key: Option<Place>,
    value: Option<Place>,
    /// Mostly there are none.
    headers: Option<Box<HeaderList>>,
    decoded: Option<Box<Decoded>>,
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
pub fn copy(topic: &Arc<str>, partition: i32, mut messages: &[Message<'_>], mut each: impl FnMut(Entry)) {
    let length = |message: &Message<'_>| -> usize {
        [message.key(), message.value()].into_iter().flatten().map(<[u8]>::len).sum()
    };
    while !messages.is_empty() {
        let mut total = 0;
        let fits = messages.iter().take_while(|message| {
            let before = total;
            total += length(message);
            before == 0 || total <= PIECE
        });
        let (these, others) = messages.split_at(fits.count());
        messages = others;
        let mut bytes = Vec::with_capacity(these.iter().map(length).sum());
        for message in these {
            [message.key(), message.value()].into_iter().flatten().for_each(|part| bytes.extend_from_slice(part));
        }
        let piece = Arc::new(Piece { topic: topic.clone(), partition, bytes });
        let mut end = 0;
        for message in these {
            let mut place = |part: Option<&[u8]>| {
                let place = Place::new(end, part?.len());
                end += part?.len();
                Some(place)
            };
            let (key, value) = (place(message.key()), place(message.value()));
            let (timestamp, log_append_time) = record::times(message.timestamp());
            let headers = message.headers();
            let headers = (!headers.is_empty()).then(|| Box::new(headers));
            let (piece, offset) = (piece.clone(), message.offset());
            each(Entry { piece, offset, timestamp, log_append_time, key, value, headers, decoded: None });
        }
    }
}

impl Place {
    fn new(start: usize, length: usize) -> Self {
        let number = |number| u32::try_from(number).expect("Kafka has no records of gigabytes");
        Self { start: number(start), length: number(length) }
    }
}

impl From<Place> for Range<usize> {
    fn from(place: Place) -> Self {
        place.start as usize..(place.start + place.length) as usize
    }
}

impl Entry {
    /// One record, copied by itself.
    #[must_use]
    pub fn new(topic: &Arc<str>, partition: i32, raw: Raw<'_>) -> Self {
        let Raw { offset, timestamp, log_append_time, key, value, headers } = raw;
        let bytes = [key, value].map(Option::unwrap_or_default).concat();
        let end = key.map_or(0, <[u8]>::len);
        Self {
            piece: Arc::new(Piece { topic: topic.clone(), partition, bytes }),
            offset,
            timestamp,
            log_append_time,
            key: key.map(|key| Place::new(0, key.len())),
            value: value.map(|value| Place::new(end, value.len())),
            headers: (!headers.is_empty()).then(|| Box::new(headers.to_vec())),
            decoded: None,
        }
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
        let parts: u32 = [self.key, self.value].into_iter().flatten().map(|place| place.length).sum();
        u64::from(parts) + record::size(self.headers())
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.bytes(self.key)
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &[(String, Option<Vec<u8>>)] {
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

    /// What a schema has made of it.
    #[must_use]
    pub fn decoded(&self) -> Option<&Decoded> {
        self.decoded.as_deref()
    }

    /// The function gets what a schema has made of it.
    pub fn decode(&mut self, decoded: Decoded) {
        self.decoded = Some(Box::new(decoded));
    }

    /// The record as it was read.
    #[must_use]
    pub fn record(&self) -> Record {
        self.raw().copy(self.topic(), self.partition())
    }

    /// Has a piece of its own, for a time in which what came with it may go.
    pub fn part(&mut self) {
        let Raw { key, value, .. } = self.raw();
        if [key, value].map(|part| part.map_or(0, <[u8]>::len)).iter().sum::<usize>() < self.piece.bytes.len() {
            let alone = Self::new(&self.piece.topic, self.piece.partition, self.raw());
            *self = Self { decoded: self.decoded.take(), ..alone };
        }
    }
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self::new(&record.topic, record.partition, Raw::from(&record))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.record() == other.record() && self.decoded == other.decoded
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
    use super::{Entry, Piece, Place};
    use crate::record::Record;
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        /// Whatever it has or lacks, beside others or by itself, a record can be had as it was.
        #[test]
        fn a_record_is_what_it_was(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
            headers in prop::collection::vec((".{0,3}", prop::option::of(prop::collection::vec(any::<u8>(), 0..4))), 0..3),
            (before, after) in (0_usize..20, 0_usize..20),
            (offset, timestamp, log_append_time) in any::<(i64, i64, bool)>(),
        ) {
            let record = Record {
                topic: "raw".into(), partition: 3, offset, timestamp, log_append_time,
                key: key.map(Into::into), value: value.map(Into::into), headers,
            };
            let alone = Entry::from(record.clone());
            prop_assert_eq!(&alone.record(), &record);
            prop_assert_eq!(alone.size(), record.size());
            prop_assert_eq!(alone.key(), record.key.as_deref());

            let mut beside = alone.clone();
            let bytes = [&vec![7; before], &alone.piece.bytes[..], &vec![8; after]].concat();
            beside.piece = Arc::new(Piece { topic: "raw".into(), partition: 3, bytes });
            let moved = |place: Place| Place::new(place.start as usize + before, place.length as usize);
            (beside.key, beside.value) = (alone.key.map(moved), alone.value.map(moved));
            prop_assert_eq!(&beside.record(), &record);
            beside.part();
            prop_assert_eq!(&beside.record(), &record);
            prop_assert_eq!(beside.piece.bytes.len(), alone.piece.bytes.len(), "it keeps no others");
        }
    }
}
