//! A Kafka record in hand, and one on its way out.

use crate::decode::Decoded;
use bytes::{Bytes, BytesMut};
use rdkafka::{
    Timestamp,
    message::{BorrowedMessage, Message},
};
use std::sync::Arc;
use tidemill_kafka::Fetched;

/// Keys and values are copied into memory that is had in such pieces, so that a record costs no
/// allocation of its own.
const PIECE: usize = 64 << 10;

/// A record's headers, in their order; a value may be absent.
pub type HeaderList = Vec<(String, Option<Vec<u8>>)>;

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
    /// What a schema makes of key and value, where one was asked.
    pub decoded: Option<Box<Decoded>>,
}

/// Copies records of one partition out of librdkafka's memory.
#[derive(Debug)]
pub struct Copier {
    topic: Arc<str>,
    memory: BytesMut,
}

impl Copier {
    /// For records of that topic.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self { topic: Arc::from(topic), memory: BytesMut::new() }
    }

    /// A record of its own.
    pub fn copy(&mut self, fetched: &Fetched<'_>) -> Record {
        let (timestamp, log_append_time) = match fetched.timestamp() {
            Timestamp::NotAvailable => (0, false),
            Timestamp::CreateTime(millis) => (millis, false),
            Timestamp::LogAppendTime(millis) => (millis, true),
        };
        Record {
            topic: self.topic.clone(),
            partition: fetched.partition(),
            offset: fetched.offset(),
            timestamp,
            log_append_time,
            key: fetched.key().map(|bytes| self.keep(bytes)),
            value: fetched.value().map(|bytes| self.keep(bytes)),
            headers: fetched.headers(),
            decoded: None,
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if self.memory.capacity() - self.memory.len() < bytes.len() {
            self.memory.reserve(bytes.len().max(PIECE));
        }
        self.memory.extend_from_slice(bytes);
        self.memory.split().freeze()
    }
}

impl Record {
    /// One record, copied by itself.
    #[must_use]
    pub fn copy(message: &BorrowedMessage<'_>) -> Self {
        Copier::new(message.topic()).copy(&Fetched::from(message))
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn size(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum();
        (self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers) as u64
    }

    /// The key as JSON, where a schema has made that of it.
    #[must_use]
    pub fn json_key(&self) -> Option<&[u8]> {
        let json = self.decoded.as_deref().and_then(|decoded| decoded.key.as_ref());
        json.map(|json| &*json.text).or(self.key.as_deref())
    }

    /// The value as JSON, where a schema has made that of it.
    #[must_use]
    pub fn json_value(&self) -> Option<&[u8]> {
        let json = self.decoded.as_deref().and_then(|decoded| decoded.value.as_ref());
        json.map(|json| &*json.text).or(self.value.as_deref())
    }

    /// `topic-partition`, as Lambda's event names it.
    #[must_use]
    pub fn topic_partition(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
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
