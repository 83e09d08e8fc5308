//! A Kafka record in hand, and one on its way out.

use bytes::Bytes;
use rdkafka::{
    Timestamp,
    message::{BorrowedMessage, Message as _},
};
use std::sync::Arc;
use tidemill_kafka::Message;

/// A record's headers, in their order; a value may be absent.
pub type HeaderList = tidemill_kafka::Headers;
/// The same in somebody's memory.
pub type Headers<'a> = &'a [(String, Option<Vec<u8>>)];

/// A record as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Unix milliseconds; 0 where the record has none.
    pub timestamp: i64,
    /// Whether the broker set the timestamp (`LOG_APPEND_TIME`).
    pub log_append_time: bool,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; absent in a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: HeaderList,
}

/// A record in somebody's memory, of a partition that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Unix milliseconds; 0 where the record has none.
    pub timestamp: i64,
    /// Whether the broker set the timestamp (`LOG_APPEND_TIME`).
    pub log_append_time: bool,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; absent in a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl<'a> Raw<'a> {
    /// A record where it is, with its headers.
    #[must_use]
    pub fn of(source: &'a impl Source, headers: Headers<'a>) -> Self {
        let (timestamp, log_append_time) = source.time();
        let (key, value) = (source.key(), source.value());
        Self { offset: source.offset(), timestamp, log_append_time, key, value, headers }
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> u64 {
        let parts = [self.key, self.value].into_iter().flatten().map(<[u8]>::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        (parts.sum::<usize>() + headers.sum::<usize>()) as u64
    }

    /// A record of its own.
    #[must_use]
    pub fn copy(&self, topic: Arc<str>, partition: i32) -> Record {
        Record {
            topic,
            partition,
            offset: self.offset,
            timestamp: self.timestamp,
            log_append_time: self.log_append_time,
            key: self.key.map(Bytes::copy_from_slice),
            value: self.value.map(Bytes::copy_from_slice),
            headers: self.headers.to_vec(),
        }
    }
}

impl<'a> From<&'a Record> for Raw<'a> {
    fn from(record: &'a Record) -> Self {
        Self::of(record, &record.headers)
    }
}

/// Where records are read from.
pub trait Source {
    /// Its offset in the partition.
    fn offset(&self) -> i64;
    /// Unix milliseconds, 0 where there are none, and whether the broker set them.
    fn time(&self) -> (i64, bool);
    /// The key.
    fn key(&self) -> Option<&[u8]>;
    /// The value.
    fn value(&self) -> Option<&[u8]>;
    /// The headers.
    fn headers(&self) -> HeaderList;
}

impl Source for Message<'_> {
    fn offset(&self) -> i64 {
        Message::offset(self)
    }

    fn time(&self) -> (i64, bool) {
        times(self.timestamp())
    }

    fn key(&self) -> Option<&[u8]> {
        Message::key(self)
    }

    fn value(&self) -> Option<&[u8]> {
        Message::value(self)
    }

    fn headers(&self) -> HeaderList {
        Message::headers(self)
    }
}

impl Source for BorrowedMessage<'_> {
    fn offset(&self) -> i64 {
        rdkafka::Message::offset(self)
    }

    fn time(&self) -> (i64, bool) {
        times(self.timestamp())
    }

    fn key(&self) -> Option<&[u8]> {
        rdkafka::Message::key(self)
    }

    fn value(&self) -> Option<&[u8]> {
        self.payload()
    }

    fn headers(&self) -> HeaderList {
        tidemill_kafka::headers(self)
    }
}

impl Source for Record {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn time(&self) -> (i64, bool) {
        (self.timestamp, self.log_append_time)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn headers(&self) -> HeaderList {
        self.headers.clone()
    }
}

impl Record {
    /// One record, copied by itself.
    #[must_use]
    pub fn copy(message: &BorrowedMessage<'_>) -> Self {
        Raw::of(message, &Source::headers(message)).copy(message.topic().into(), message.partition())
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> u64 {
        Raw::from(self).size()
    }

    /// `topic-partition`, as Lambda's event names it.
    #[must_use]
    pub fn topic_partition(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }
}

/// Unix milliseconds, 0 where there are none, and whether the broker set them.
fn times(timestamp: Timestamp) -> (i64, bool) {
    match timestamp {
        Timestamp::NotAvailable => (0, false),
        Timestamp::CreateTime(millis) => (millis, false),
        Timestamp::LogAppendTime(millis) => (millis, true),
    }
}

/// A record to produce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutRecord {
    /// The topic.
    pub topic: String,
    /// The partition; without one it follows from the key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; absent makes a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: HeaderList,
}
