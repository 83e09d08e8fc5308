//! How many records a consumer group has still to read.
//!
//! What cannot be learned is an error, never a zero: a scaler that took a broker's silence for
//! "no lag" would put a function to rest while records wait.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::time::{Duration, Instant};

/// How long the partitions of the topics are taken as known.
const PARTITIONS_KNOWN: Duration = Duration::from_secs(10);

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

/// Looks at the lag of one group, again and again, without joining it.
pub struct GroupObserver {
    consumer: BaseConsumer,
    bootstrap: String,
    topics: Vec<String>,
    from_end: bool,
    partitions: Option<(Instant, TopicPartitionList)>,
    last: Option<GroupLag>,
}

impl GroupObserver {
    /// An observer of `group` on `topics`.
    ///
    /// A partition without a committed offset counts from its first kept record, or from its
    /// end where `from_end` says that the group begins there.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection, group: &str, topics: Vec<String>, from_end: bool) -> Result<Self, Error> {
        Ok(Self {
            consumer: connection.observer(group)?,
            bootstrap: connection.bootstrap().to_owned(),
            topics,
            from_end,
            partitions: None,
            last: None,
        })
    }

    /// The lag as it is now: one request to each broker while nothing moves, three otherwise.
    ///
    /// # Errors
    /// When a broker does not answer for one of the partitions.
    pub fn look(&mut self) -> Result<GroupLag, Error> {
        let partitions = self.partitions()?;
        let ends = self.offsets(&partitions, Offset::End, "ask where the topics end")?;
        if let Some(last) = &self.last
            && last.total() == 0
            && last.partitions.len() == ends.count()
            && last.partitions.iter().all(|known| offset_of(&ends, known) == Some(known.end))
        {
            // All was read, and nothing has come: a committed offset cannot pass the end.
            return Ok(last.clone());
        }
        self.last = None;
        let begins = self.offsets(&partitions, Offset::Beginning, "ask where the topics begin")?;
        let committed = self
            .consumer
            .committed_offsets(partitions, PATIENCE)
            .map_err(|source| request("ask for committed offsets", source))?;
        let mut lag = GroupLag::default();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            element.error().map_err(|source| request(&format!("ask for the offset of {topic}-{partition}"), source))?;
            let mut found = PartitionLag { topic: topic.to_owned(), partition, end: 0, position: 0 };
            let unknown = || request(&format!("find an offset of {topic}-{partition}"), KafkaError::NoMessageReceived);
            found.end = offset_of(&ends, &found).ok_or_else(unknown)?;
            let begin = offset_of(&begins, &found).ok_or_else(unknown)?;
            found.position = match element.offset() {
                Offset::Offset(offset) => offset.max(begin),
                _ if self.from_end => found.end,
                _ => begin,
            };
            lag.partitions.push(found);
        }
        self.last = Some(lag.clone());
        Ok(lag)
    }

    fn partitions(&mut self) -> Result<TopicPartitionList, Error> {
        if let Some((since, partitions)) = &self.partitions
            && since.elapsed() < PARTITIONS_KNOWN
        {
            return Ok(partitions.clone());
        }
        let mut partitions = TopicPartitionList::new();
        for topic in &self.topics {
            let action = || format!("ask {} for topic {topic}", self.bootstrap);
            let metadata =
                self.consumer.fetch_metadata(Some(topic), PATIENCE).map_err(|source| request(&action(), source))?;
            for found in metadata.topics() {
                if let Some(code) = found.error() {
                    return Err(request(&action(), KafkaError::MetadataFetch(code.into())));
                }
                for partition in found.partitions() {
                    partitions.add_partition(topic, partition.id());
                }
            }
        }
        self.partitions = Some((Instant::now(), partitions.clone()));
        Ok(partitions)
    }

    /// One `ListOffsets` request to each broker; `which` is the end or the beginning, which the
    /// protocol asks for as the times -1 and -2.
    fn offsets(
        &self,
        partitions: &TopicPartitionList,
        which: Offset,
        action: &str,
    ) -> Result<TopicPartitionList, Error> {
        let mut asked = partitions.clone();
        asked.set_all_offsets(which).map_err(|source| request(action, source))?;
        let answered = self.consumer.offsets_for_times(asked, PATIENCE).map_err(|source| request(action, source))?;
        for element in answered.elements() {
            element.error().map_err(|source| request(action, source))?;
        }
        Ok(answered)
    }
}

fn offset_of(offsets: &TopicPartitionList, partition: &PartitionLag) -> Option<i64> {
    match offsets.find_partition(&partition.topic, partition.partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn request(action: &str, source: KafkaError) -> Error {
    Error::Request { action: action.to_owned(), source }
}
