//! Where a group begins that has read nothing yet.
//!
//! The place is committed before the group's first member comes: a member that ends before its
//! own first commit then leaves a place to go on from, and lag is counted from there. A topic of
//! which the group has committed anything has begun; partitions that it gets later are read from
//! their first record.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaResult,
};
use std::collections::HashSet;

/// Where a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the records that come from now on.
    Now,
    /// With the first record at or after this time, in milliseconds since the epoch.
    At(i64),
}

/// Commits where `group` begins on those of the topics that are there and that it has not begun.
///
/// # Errors
/// When a broker does not answer, or members of the group are at work and have committed nothing.
pub fn begin_group(connection: &Connection, group: &str, topics: &[String], begin: Begin) -> Result<(), Error> {
    let observer = connection.observer(group)?;
    commit(&observer, topics, begin)
        .or_else(|error| {
            // Another one may have been faster: then its members refuse this commit.
            if missing(&observer, topics)?.count() == 0 { Ok(()) } else { Err(error) }
        })
        .map_err(|source| Error::Request { action: format!("commit where group {group} begins"), source })
}

fn commit(observer: &BaseConsumer, topics: &[String], begin: Begin) -> KafkaResult<()> {
    let missing = missing(observer, topics)?;
    if missing.count() == 0 {
        return Ok(());
    }
    let mut ends = missing.clone();
    ends.set_all_offsets(Offset::End)?;
    let ends = observer.offsets_for_times(ends, PATIENCE)?;
    let found = match begin {
        Begin::Now => ends.clone(),
        Begin::At(millis) => {
            let mut asked = missing;
            asked.set_all_offsets(Offset::Offset(millis))?;
            observer.offsets_for_times(asked, PATIENCE)?
        }
    };
    let mut places = TopicPartitionList::new();
    for element in found.elements() {
        element.error()?;
        let offset = match element.offset() {
            place @ Offset::Offset(_) => place,
            // No record is that young: the next one will be.
            _ => ends.find_partition(element.topic(), element.partition()).map_or(Offset::End, |end| end.offset()),
        };
        places.add_partition_offset(element.topic(), element.partition(), offset)?;
    }
    observer.commit(&places, CommitMode::Sync)
}

/// The partitions of topics of which nothing is committed.
fn missing(observer: &BaseConsumer, topics: &[String]) -> KafkaResult<TopicPartitionList> {
    let mut all = TopicPartitionList::new();
    for topic in topics {
        let metadata = observer.fetch_metadata(Some(topic), PATIENCE)?;
        let found = metadata.topics().iter().filter(|topic| topic.error().is_none());
        for partition in found.flat_map(|topic| topic.partitions()) {
            all.add_partition(topic, partition.id());
        }
    }
    if all.count() == 0 {
        return Ok(all);
    }
    let committed = observer.committed_offsets(all, PATIENCE)?;
    let elements = committed.elements();
    let begun: HashSet<&str> = elements
        .iter()
        .filter(|element| matches!(element.offset(), Offset::Offset(_)))
        .map(|element| element.topic())
        .collect();
    let mut missing = TopicPartitionList::new();
    for element in elements.iter().filter(|element| !begun.contains(element.topic())) {
        missing.add_partition(element.topic(), element.partition());
    }
    Ok(missing)
}
