//! Where logs begin and end: one `ListOffsets` request to each broker for all partitions asked for.

use crate::{Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::collections::{BTreeMap, HashMap};
use tracing::debug;

/// An offset of each partition that was asked for.
#[derive(Default)]
pub struct LogOffsets(HashMap<String, HashMap<i32, Result<i64, KafkaError>>>);

impl LogOffsets {
    /// Asks for the ends or the beginnings, which the protocol asks for as the times -1 and -2.
    ///
    /// # Errors
    /// When no broker answers. What is wrong with one topic is told with its partitions.
    pub fn ask(
        client: &BaseConsumer,
        partitions: &TopicPartitionList,
        which: Offset,
        action: &str,
    ) -> Result<Self, Error> {
        let mut all = Self::default();
        if partitions.count() == 0 {
            return Ok(all);
        }
        match ask(client, partitions, which) {
            Ok(found) => all.take(&found),
            Err(error) if is_of_one_topic(&error) => all.ask_by_topic(client, partitions, which),
            Err(source) => return Err(Error::Request { action: action.to_owned(), source }),
        }
        Ok(all)
    }

    /// Whether the partition was asked for.
    #[must_use]
    pub fn has(&self, topic: &str, partition: i32) -> bool {
        self.0.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// The offset of a partition.
    ///
    /// # Errors
    /// When the broker refused it, or it was not asked for.
    pub fn of(&self, topic: &str, partition: i32) -> Result<i64, Error> {
        let found = self.0.get(topic).and_then(|partitions| partitions.get(&partition));
        found.cloned().unwrap_or(Err(KafkaError::NoMessageReceived)).map_err(|source| {
            let action = format!("find an offset of {topic}-{partition}");
            Error::Request { action, source }
        })
    }

    fn take(&mut self, found: &TopicPartitionList) {
        for element in found.elements() {
            let offset = element.error().and_then(|()| match element.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => Err(KafkaError::NoMessageReceived),
            });
            self.0.entry(element.topic().to_owned()).or_default().insert(element.partition(), offset);
        }
    }

    /// librdkafka gives the first partition's error for all: each topic by itself then, and what is
    /// not found is unknown for the groups of that topic alone.
    fn ask_by_topic(&mut self, client: &BaseConsumer, partitions: &TopicPartitionList, which: Offset) {
        let mut topics: BTreeMap<String, TopicPartitionList> = BTreeMap::new();
        for element in partitions.elements() {
            topics.entry(element.topic().to_owned()).or_default().add_partition(element.topic(), element.partition());
        }
        for (topic, list) in topics {
            match ask(client, &list, which) {
                Ok(found) => self.take(&found),
                Err(error) => debug!(%error, topic, "where it ends is not known"),
            }
        }
    }
}

fn ask(
    client: &BaseConsumer,
    partitions: &TopicPartitionList,
    which: Offset,
) -> Result<TopicPartitionList, KafkaError> {
    let mut asked = partitions.clone();
    asked.set_all_offsets(which)?;
    client.offsets_for_times(asked, PATIENCE)
}

fn is_of_one_topic(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::TopicAuthorizationFailed
                | Code::KafkaStorageError
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
        )
    })
}
