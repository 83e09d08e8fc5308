//! The records of one partition, many in one call.
//!
//! Asked for one record at a time, librdkafka makes an event of it, takes locks and reads the clock
//! twice: at hundreds of thousands of records a second that was a sixth of a runner's CPU time. Its
//! call for many has no safe wrapper; it is wrapped here.

#![expect(unsafe_code, reason = "rdkafka has no call for many records")]

use rdkafka::{
    Timestamp, bindings as c,
    consumer::{Consumer, ConsumerContext, StreamConsumer, stream_consumer::StreamPartitionQueue},
    error::{IsError, KafkaError, KafkaResult},
    message::BorrowedMessage,
    util::DefaultRuntime,
};
use std::{
    ffi::{CStr, CString},
    marker::PhantomData,
    ptr::{NonNull, null, null_mut},
    slice,
    sync::Arc,
};

/// The records of a partition that is assigned to a consumer.
pub struct PartitionQueue<C: ConsumerContext + 'static> {
    /// Wakes whoever waits, and keeps the consumer for longer than `raw`.
    stream: StreamPartitionQueue<C, DefaultRuntime>,
    raw: NonNull<c::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's queues may be used, and given back, by any thread.
unsafe impl<C: ConsumerContext + 'static> Send for PartitionQueue<C> {}
// SAFETY: as above; a queue has a lock of its own.
unsafe impl<C: ConsumerContext + 'static> Sync for PartitionQueue<C> {}

/// A record's headers; a value may be absent.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record in librdkafka's memory, given back when this is dropped; the queue it came from keeps its consumer.
pub struct Message<'a> {
    raw: NonNull<c::rd_kafka_message_t>,
    queue: PhantomData<&'a ()>,
}

impl<C: ConsumerContext + 'static> PartitionQueue<C> {
    /// Splits the partition's records off the others; `None` where it is not assigned.
    pub fn split(consumer: &Arc<StreamConsumer<C>>, topic: &str, partition: i32) -> Option<Self> {
        let stream = consumer.split_partition_queue(topic, partition)?;
        let name = CString::new(topic).ok()?;
        // SAFETY: the client lives as long as `stream` does, and the name for the call.
        let raw = unsafe { c::rd_kafka_queue_get_partition(consumer.client().native_ptr(), name.as_ptr(), partition) };
        Some(Self { stream, raw: NonNull::new(raw)? })
    }

    /// The next record, as soon as there is one.
    ///
    /// # Errors
    /// As librdkafka gives them for the partition.
    pub async fn next(&self) -> KafkaResult<BorrowedMessage<'_>> {
        self.stream.recv().await
    }

    /// The records that are there, `most` of them at most, in their order; and the last error that came between
    /// them, for which none is left out.
    pub fn take(&self, most: usize) -> (Vec<Message<'_>>, KafkaResult<()>) {
        let mut all: Vec<*mut c::rd_kafka_message_t> = vec![null_mut(); most];
        // SAFETY: the queue is ours, and there is room for so many.
        let count = unsafe { c::rd_kafka_consume_batch_queue(self.raw.as_ptr(), 0, all.as_mut_ptr(), most) };
        all.truncate(usize::try_from(count).unwrap_or(0));
        // However this ends, all are given back.
        let message = |raw| Message { raw, queue: PhantomData };
        let mut all: Vec<Message<'_>> = all.into_iter().filter_map(NonNull::new).map(message).collect();
        let mut result = Ok(());
        all.retain(|message| {
            let error = message.as_ref().err;
            if error.is_error() {
                result = Err(KafkaError::MessageConsumption(error.into()));
            }
            !error.is_error()
        });
        (all, result)
    }
}

impl<C: ConsumerContext + 'static> Drop for PartitionQueue<C> {
    fn drop(&mut self) {
        // SAFETY: it was got with a reference of its own, and `stream` still keeps the client.
        unsafe { c::rd_kafka_queue_destroy(self.raw.as_ptr()) };
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: librdkafka gave it to us, and nobody else gives it back.
        unsafe { c::rd_kafka_message_destroy(self.raw.as_ptr()) };
    }
}

impl Message<'_> {
    fn as_ref(&self) -> &c::rd_kafka_message_t {
        // SAFETY: it is ours until this is dropped.
        unsafe { self.raw.as_ref() }
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.as_ref().offset
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.as_ref();
        // SAFETY: librdkafka keeps so many bytes there for as long as the message.
        unsafe { bytes(message.key.cast(), message.key_len) }
    }

    /// The value; absent in a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        let message = self.as_ref();
        // SAFETY: as for the key.
        unsafe { bytes(message.payload.cast(), message.len) }
    }

    /// When it was made, or appended.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        use c::rd_kafka_timestamp_type_t as Kind;
        let mut kind = Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: both are valid for the call.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.raw.as_ptr(), &raw mut kind) };
        match kind {
            _ if millis == -1 => Timestamp::NotAvailable,
            Kind::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::CreateTime(millis),
            Kind::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Timestamp::LogAppendTime(millis),
            Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::NotAvailable,
        }
    }

    /// Its headers, in their order; what of a name is not UTF-8 is replaced.
    #[must_use]
    pub fn headers(&self) -> Headers {
        // SAFETY: it is ours until this is dropped.
        unsafe { parsed(self.raw.as_ptr()) }
    }
}

/// A record's headers, in their order; what of a name is not UTF-8 is replaced.
#[must_use]
pub fn headers(message: &BorrowedMessage<'_>) -> Headers {
    // SAFETY: it is valid for as long as the message is borrowed.
    unsafe { parsed(message.ptr()) }
}

/// # Safety
/// The message must be valid for the call.
unsafe fn parsed(message: *const c::rd_kafka_message_t) -> Headers {
    let mut headers: *mut c::rd_kafka_headers_t = null_mut();
    // SAFETY: as the caller says; the headers live as long as the message.
    let found = unsafe { c::rd_kafka_message_headers(message, &raw mut headers) };
    if found.is_error() || headers.is_null() {
        return Vec::new();
    }
    // SAFETY: they were just given.
    let count = unsafe { c::rd_kafka_header_cnt(headers) };
    (0..count).filter_map(|index| header(headers, index)).collect()
}

fn header(headers: *const c::rd_kafka_headers_t, index: usize) -> Option<(String, Option<Vec<u8>>)> {
    let (mut name, mut value, mut length) = (null(), null(), 0);
    // SAFETY: the headers are valid, and so are the places for what is told of one.
    let found = unsafe { c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut length) };
    if found.is_error() {
        return None;
    }
    // SAFETY: librdkafka ends names with a zero, and keeps so many bytes of the value.
    let (name, value) = unsafe { (CStr::from_ptr(name), bytes(value.cast(), length)) };
    Some((name.to_string_lossy().into_owned(), value.map(<[u8]>::to_vec)))
}

/// What is there, if anything.
///
/// # Safety
/// Where the pointer is not null, `length` bytes must be readable there for as long as `'a`.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}
