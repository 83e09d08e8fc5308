//! How far one has come in a topic, kept as the committed offsets of a group that nobody joins.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::collections::BTreeMap;

/// A group's places in one topic.
pub struct Bookmark {
    client: BaseConsumer,
    group: String,
    topic: String,
}

impl Bookmark {
    /// The bookmark of that group.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection, group: &str, topic: &str) -> Result<Self, Error> {
        Ok(Self { client: connection.observer(group)?, group: group.to_owned(), topic: topic.to_owned() })
    }

    /// The next offset of each of the partitions; one without a commit is left out.
    ///
    /// # Errors
    /// When the group's coordinator does not answer.
    pub fn places(&self, partitions: impl IntoIterator<Item = i32>) -> Result<BTreeMap<i32, i64>, Error> {
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition(&self.topic, partition);
        }
        let failed =
            |source| Error::Request { action: format!("ask where group {} is in {}", self.group, self.topic), source };
        let found = self.client.committed_offsets(asked, PATIENCE).map_err(failed)?;
        let mut places = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(failed)?;
            if let Offset::Offset(offset) = element.offset() {
                places.insert(element.partition(), offset);
            }
        }
        Ok(places)
    }

    /// Keeps these places; returns when the coordinator has them.
    ///
    /// # Errors
    /// When it does not take them: also where members of the group are at work.
    pub fn put(&self, places: &BTreeMap<i32, i64>) -> Result<(), Error> {
        if places.is_empty() {
            return Ok(());
        }
        let failed = |source| Error::Request { action: format!("commit offsets of group {}", self.group), source };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        self.client.commit(&list, CommitMode::Sync).map_err(failed)
    }
}
