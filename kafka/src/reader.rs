//! Reads what a topic has, without joining a group: from where one says to where it ended.

use crate::{Connection, Error, log_offsets::LogOffsets};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

/// How long the brokers may be silent before reading has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// Offsets of each partition: from the first, to before the last.
pub type Spans = BTreeMap<i32, Range<i64>>;

/// Where each partition of a topic begins and ends now.
///
/// # Errors
/// When a broker does not answer, or there is no such topic.
pub fn topic_spans(connection: &Connection, topic: &str) -> Result<Spans, Error> {
    let metadata = connection.metadata(Some(topic))?;
    let mut asked = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        asked.add_partition(topic, partition.id());
    }
    let spans = spans_of(connection, &asked, &format!("find where {topic} begins and ends"))?;
    Ok(spans.into_values().next().unwrap_or_default())
}

/// The same of many topics at once, each with the number of its partitions.
///
/// # Errors
/// When a broker does not answer, or one of the topics is not there.
pub fn topic_spans_of(connection: &Connection, topics: &BTreeMap<&str, i32>) -> Result<BTreeMap<String, Spans>, Error> {
    let mut asked = TopicPartitionList::new();
    for (topic, partitions) in topics {
        asked.add_partition_range(topic, 0, *partitions - 1);
    }
    spans_of(connection, &asked, "find where topics begin and end")
}

fn spans_of(
    connection: &Connection,
    asked: &TopicPartitionList,
    action: &str,
) -> Result<BTreeMap<String, Spans>, Error> {
    let client = connection.observer("tidemill.reader")?;
    let firsts = LogOffsets::ask(&client, asked, Offset::Beginning, action)?;
    let ends = LogOffsets::ask(&client, asked, Offset::End, action)?;
    let mut spans: BTreeMap<_, Spans> = BTreeMap::new();
    for element in asked.elements() {
        let (topic, number) = (element.topic(), element.partition());
        let span = firsts.of(topic, number)?..ends.of(topic, number)?;
        spans.entry(topic.to_owned()).or_default().insert(number, span);
    }
    Ok(spans)
}

/// Reads spans of a topic.
pub struct TopicReader {
    client: BaseConsumer,
    topic: String,
    /// Where each partition ends that has not been read yet.
    open: BTreeMap<i32, i64>,
}

impl TopicReader {
    /// Begins to read.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection, topic: &str, spans: &Spans) -> Result<Self, Error> {
        let client: BaseConsumer = connection
            .client_config()
            .set("group.id", "tidemill.reader")
            .set("enable.auto.commit", "false")
            // Offsets may end in markers or gaps: the broker's word counts, not the last offset.
            .set("enable.partition.eof", "true")
            // What retention takes away while it is read is gone.
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "16384")
            .create()
            .map_err(|source| Error::Client { bootstrap: connection.bootstrap().to_owned(), source })?;
        let reader = Self {
            client,
            topic: topic.to_owned(),
            open: spans.iter().filter(|(_, span)| !span.is_empty()).map(|(number, span)| (*number, span.end)).collect(),
        };
        reader.assign(spans).map_err(|source| reader.failed(source))?;
        Ok(reader)
    }

    /// The next record, those of a partition in their order; `None` when all were read.
    ///
    /// # Errors
    /// When the brokers refuse, or are silent for half a minute.
    pub fn read(&mut self) -> Result<Option<BorrowedMessage<'_>>, Error> {
        let deadline = Instant::now() + SILENCE;
        while !self.open.is_empty() {
            match self.client.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = self.open.get(&partition).copied() else { continue };
                    if offset + 1 >= end {
                        self.open.remove(&partition);
                        self.rest(partition)?;
                    }
                    if offset < end {
                        return Ok(Some(message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.open.remove(&partition)),
                Some(Err(error)) if !is_passing(&error) => return Err(self.failed(error)),
                _ if Instant::now() >= deadline => {
                    let silent = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                    return Err(self.failed(silent));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn assign(&self, spans: &Spans) -> Result<(), KafkaError> {
        let mut places = TopicPartitionList::new();
        for (number, span) in spans.iter().filter(|(number, _)| self.open.contains_key(number)) {
            places.add_partition_offset(&self.topic, *number, Offset::Offset(span.start))?;
        }
        self.client.assign(&places)
    }

    /// Fetches no more of a partition that was read.
    fn rest(&self, partition: i32) -> Result<(), Error> {
        let mut done = TopicPartitionList::new();
        done.add_partition(&self.topic, partition);
        self.client.pause(&done).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: KafkaError) -> Error {
        Error::Request { action: format!("read {}", self.topic), source }
    }
}

/// Whether librdkafka goes on by itself after it.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error.rdkafka_error_code().is_some_and(|code| {
        matches!(
            code,
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::OperationTimedOut | Code::NotLeaderForPartition
        )
    })
}
