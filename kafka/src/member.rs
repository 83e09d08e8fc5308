//! What a consumer knows of its membership.
#![expect(unsafe_code, reason = "rdkafka's ConsumerGroupMetadata does not give the epoch")]

use rdkafka::{
    bindings as c,
    consumer::{Consumer, ConsumerContext},
};

/// The epoch that the coordinator has last told this member; 0 or less where it has told none.
pub fn member_epoch<C: ConsumerContext>(consumer: &impl Consumer<C>) -> i32 {
    // SAFETY: the client lives as long as `consumer`.
    let metadata = unsafe { c::rd_kafka_consumer_group_metadata(consumer.client().native_ptr()) };
    if metadata.is_null() {
        return 0;
    }
    // SAFETY: it is not null, and destroyed after this only.
    let epoch = unsafe { c::rd_kafka_consumer_group_metadata_generation_id(metadata) };
    // SAFETY: nothing of it is used any more.
    unsafe { c::rd_kafka_consumer_group_metadata_destroy(metadata) };
    epoch
}
