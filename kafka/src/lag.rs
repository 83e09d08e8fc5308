//! How many records a consumer group has still to read.
//!
//! What cannot be learned is an error, never a zero: a scaler that took a broker's silence for
//! "no lag" would put a function to rest while records wait.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};

/// The lag of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset after the last record.
    pub end: i64,
    /// Where the group goes on reading.
    pub position: i64,
}

impl PartitionLag {
    /// Records still to read.
    #[must_use]
    pub fn lag(&self) -> i64 {
        (self.end - self.position).max(0)
    }
}

/// The lag of a group on its topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupLag {
    /// Each partition.
    pub partitions: Vec<PartitionLag>,
}

impl GroupLag {
    /// Records still to read, over all partitions.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.partitions.iter().map(PartitionLag::lag).sum()
    }
}

/// Asks for the lag of the observer's group on `topics`.
///
/// A partition without a committed offset counts from its first kept record, or from its end
/// where `from_end` says that the group begins there.
///
/// # Errors
/// When a broker does not answer for one of the partitions.
pub fn group_lag(
    connection: &Connection,
    observer: &BaseConsumer,
    topics: &[String],
    from_end: bool,
) -> Result<GroupLag, Error> {
    let failed = |action: String| move |source| Error::Request { action, source };
    let mut asked = TopicPartitionList::new();
    for topic in topics {
        let metadata = observer
            .fetch_metadata(Some(topic), PATIENCE)
            .map_err(failed(format!("ask {} for topic {topic}", connection.bootstrap())))?;
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            asked.add_partition(topic, partition.id());
        }
    }
    let committed =
        observer.committed_offsets(asked, PATIENCE).map_err(failed("ask for committed offsets".to_owned()))?;
    let mut partitions = Vec::new();
    for element in committed.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        element.error().map_err(failed(format!("ask for the offset of {topic}-{partition}")))?;
        let (low, end) = observer
            .fetch_watermarks(topic, partition, PATIENCE)
            .map_err(failed(format!("ask for the end of {topic}-{partition}")))?;
        let position = match element.offset() {
            Offset::Offset(offset) => offset.max(low),
            _ if from_end => end,
            _ => low,
        };
        partitions.push(PartitionLag { topic: topic.to_owned(), partition, end, position });
    }
    Ok(GroupLag { partitions })
}
