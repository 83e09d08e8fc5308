//! The committed offsets of many groups, asked for together.
//!
//! One client asks for all groups at once, and waits for all answers together: librdkafka
//! sends the requests to each group's coordinator without waiting for one another. Its safe Rust
//! interface does not have that call.
#![expect(unsafe_code, reason = "rdkafka has no safe ListConsumerGroupOffsets")]

use crate::PATIENCE;
use rdkafka::{
    TopicPartitionList, bindings as c,
    consumer::{BaseConsumer, Consumer},
    error::{IsError, KafkaError},
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr, slice,
    time::{Duration, Instant},
};

/// What a group has committed; a partition that is not in it has no commit.
pub type Committed = HashMap<(String, i32), i64>;

/// What each group has committed on these partitions, in the order of `groups`.
///
/// `client` must be a consumer with a group: where a coordinator has moved, librdkafka has the
/// client's own group look for its coordinator too, and a client without one would crash.
#[must_use]
pub fn committed(client: &BaseConsumer, groups: &[(&str, TopicPartitionList)]) -> Vec<Result<Committed, KafkaError>> {
    let deadline = Instant::now() + PATIENCE;
    let native = client.client().native_ptr();
    let silent = || Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut));
    let mut answers: Vec<_> = groups.iter().map(|_| silent()).collect();
    // SAFETY: `native` lives as long as `client`; the queue is destroyed below.
    let queue = unsafe { c::rd_kafka_queue_new(native) };
    let asked = groups.iter().enumerate();
    let mut left = asked.filter(|(index, (group, list))| ask(native, queue, *index, group, list)).count();
    while left > 0 {
        let wait = deadline.saturating_duration_since(Instant::now());
        // SAFETY: the queue lives until after this loop; the event is destroyed in the loop.
        let event = unsafe { c::rd_kafka_queue_poll(queue, millis(wait)) };
        if event.is_null() {
            break;
        }
        // SAFETY: the event is one of ours, its opaque is what `ask` gave: an index.
        let (index, answer) = unsafe { (c::rd_kafka_event_opaque(event) as usize, read(event)) };
        if let Some(place) = answers.get_mut(index) {
            *place = answer;
            left -= 1;
        }
        // SAFETY: nothing of it is used any more.
        unsafe { c::rd_kafka_event_destroy(event) };
    }
    // SAFETY: answers that come too late are dropped with the queue.
    unsafe { c::rd_kafka_queue_destroy(queue) };
    answers
}

/// Sends one request; answers whether it could.
fn ask(
    native: *mut c::rd_kafka_t,
    queue: *mut c::rd_kafka_queue_t,
    index: usize,
    group: &str,
    list: &TopicPartitionList,
) -> bool {
    let Ok(group) = CString::new(group) else { return false };
    let mut text = [0 as c_char; 256];
    // SAFETY: all pointers are live for the calls; the request copies the name and the list, and
    // request and options are destroyed after librdkafka has taken what it needs of them.
    unsafe {
        let kind = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let options = c::rd_kafka_AdminOptions_new(native, kind);
        c::rd_kafka_AdminOptions_set_request_timeout(options, millis(PATIENCE), text.as_mut_ptr(), text.len());
        c::rd_kafka_AdminOptions_set_opaque(options, ptr::without_provenance_mut::<c_void>(index));
        let mut request = c::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.ptr());
        c::rd_kafka_ListConsumerGroupOffsets(native, &raw mut request, 1, options, queue);
        c::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        c::rd_kafka_AdminOptions_destroy(options);
    }
    true
}

/// # Safety
/// `event` must be an event of this request.
unsafe fn read(event: *mut c::rd_kafka_event_t) -> Result<Committed, KafkaError> {
    // SAFETY: what is read belongs to the event, which the caller keeps.
    unsafe {
        checked(c::rd_kafka_event_error(event))?;
        let result = c::rd_kafka_event_ListConsumerGroupOffsets_result(event);
        if result.is_null() {
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::Fail));
        }
        let mut count = 0;
        let groups = c::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::Fail));
        }
        let error = c::rd_kafka_group_result_error(*groups);
        if !error.is_null() {
            checked(c::rd_kafka_error_code(error))?;
        }
        let list = c::rd_kafka_group_result_partitions(*groups);
        if list.is_null() || (*list).elems.is_null() {
            return Ok(Committed::new());
        }
        let elements = slice::from_raw_parts((*list).elems, usize::try_from((*list).cnt).unwrap_or_default());
        let mut committed = Committed::new();
        for element in elements {
            checked(element.err)?;
            if element.offset >= 0 {
                let topic = CStr::from_ptr(element.topic).to_string_lossy().into_owned();
                committed.insert((topic, element.partition), element.offset);
            }
        }
        Ok(committed)
    }
}

fn checked(code: RDKafkaRespErr) -> Result<(), KafkaError> {
    if code.is_error() { Err(KafkaError::OffsetFetch(code.into())) } else { Ok(()) }
}

fn millis(time: Duration) -> c_int {
    c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX)
}
