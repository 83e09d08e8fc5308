//! How many records consumer groups have still to read.
//!
//! What cannot be learned is an error, never a zero: a scaler that took a broker's silence for
//! "no lag" would put a function to rest while records wait.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// How long the topics of the cluster are taken as known.
const TOPICS_KNOWN: Duration = Duration::from_secs(10);
/// How long they are while a topic that a group reads is missing.
const TOPICS_MISSING: Duration = Duration::from_secs(1);
/// How long a client that asks for a group's offsets is kept without need.
const IDLE_CLIENT: Duration = Duration::from_secs(30);

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

    /// The sum of the partitions' ends: it grows by one for each record that arrives.
    #[must_use]
    pub fn ends(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.end).sum()
    }
}

/// A consumer group as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `group.id`.
    pub id: String,
    /// The topics it reads.
    pub topics: Vec<String>,
}

/// Why the lag of a group is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// A topic that it reads is not there.
    #[error("topic {0} is not there")]
    TopicNotFound(String),
    /// A broker did not answer, or refused.
    #[error(transparent)]
    Kafka(#[from] Error),
}

/// Looks at the lag of groups of one cluster, again and again, without joining them.
///
/// All groups share one client and one request round for where topics end; only a group that
/// has records to read, or whose topics got some, is asked for its offsets.
pub struct ClusterObserver {
    connection: Connection,
    client: BaseConsumer,
    topics: Option<(Instant, BTreeMap<String, Vec<i32>>)>,
    brokers: i32,
    groups: HashMap<String, Known>,
}

/// What is kept of a group from look to look.
#[derive(Default)]
struct Known {
    client: Option<(BaseConsumer, Instant)>,
    /// Its lag when it last had none: it has none as long as the ends stay.
    settled: Option<GroupLag>,
}

impl ClusterObserver {
    /// An observer of a cluster.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let client = connection.observer("tidemill.observer")?;
        Ok(Self { connection: connection.clone(), client, topics: None, brokers: 0, groups: HashMap::new() })
    }

    /// The lag of each group as it is now, in the order of `groups`.
    ///
    /// # Errors
    /// When no broker answers: then nothing is known of any group.
    pub fn look(&mut self, groups: &[Group]) -> Result<Vec<Result<GroupLag, Unknown>>, Error> {
        self.groups.retain(|id, _| groups.iter().any(|group| group.id == *id));
        self.learn_topics(groups)?;
        let topics = self.topics.as_ref().map(|(_, topics)| topics).expect("the topics were just learned");
        let ends = offsets(&self.client, &partitions(topics, groups), Offset::End, "ask where the topics end")?;
        let moved: Vec<&Group> = groups
            .iter()
            .filter(|group| {
                let settled = self.groups.get(&group.id).and_then(|known| known.settled.as_ref());
                settled.is_none_or(|settled| !stands_still(settled, group, topics, &ends))
            })
            .collect();
        let asked = partitions(topics, moved.iter().copied());
        let begins = offsets(&self.client, &asked, Offset::Beginning, "ask where the topics begin")?;
        let looked = groups.iter().map(|group| {
            let known = self.groups.entry(group.id.clone()).or_default();
            if !moved.iter().any(|other| other.id == group.id)
                && let Some(settled) = &known.settled
            {
                known.client.take_if(|(_, used)| used.elapsed() > IDLE_CLIENT);
                return Ok(settled.clone());
            }
            known.settled = None;
            let first = known.client.is_none();
            let lag = lag_of(group, topics, &ends, &begins, known, &self.connection)?;
            known.settled = (lag.total() == 0).then(|| lag.clone());
            if first && known.settled.is_some() {
                // It rests: hundreds of such groups must not have a client each.
                known.client = None;
            }
            Ok(lag)
        });
        Ok(looked.collect())
    }

    /// Partitions of each topic, as last learned.
    #[must_use]
    pub fn topics(&self) -> BTreeMap<String, i32> {
        let topics = self.topics.iter().flat_map(|(_, topics)| topics);
        topics.map(|(name, ids)| (name.clone(), i32::try_from(ids.len()).unwrap_or(i32::MAX))).collect()
    }

    /// Has the topics asked for again with the next look.
    pub fn forget_topics(&mut self) {
        self.topics = None;
    }

    /// How many brokers there are, as last learned.
    #[must_use]
    pub fn brokers(&self) -> i32 {
        self.brokers
    }

    fn learn_topics(&mut self, groups: &[Group]) -> Result<(), Error> {
        if let Some((since, topics)) = &self.topics {
            let missing = groups.iter().flat_map(|group| &group.topics).any(|topic| !topics.contains_key(topic));
            if since.elapsed() < if missing { TOPICS_MISSING } else { TOPICS_KNOWN } {
                return Ok(());
            }
        }
        let action = || format!("ask {} for its topics", self.connection.bootstrap());
        let metadata = self.client.fetch_metadata(None, PATIENCE).map_err(|source| request(&action(), source))?;
        self.brokers = i32::try_from(metadata.brokers().len()).unwrap_or(i32::MAX);
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let ids = |topic: &rdkafka::metadata::MetadataTopic| topic.partitions().iter().map(|part| part.id()).collect();
        self.topics = Some((Instant::now(), topics.map(|topic| (topic.name().to_owned(), ids(topic))).collect()));
        Ok(())
    }
}

/// The partitions of all topics that the groups read, each once.
fn partitions<'a>(
    topics: &BTreeMap<String, Vec<i32>>,
    groups: impl IntoIterator<Item = &'a Group>,
) -> TopicPartitionList {
    let names: BTreeSet<&String> = groups.into_iter().flat_map(|group| &group.topics).collect();
    let mut list = TopicPartitionList::new();
    for (name, ids) in names.into_iter().filter_map(|name| topics.get_key_value(name)) {
        for id in ids {
            list.add_partition(name, *id);
        }
    }
    list
}

/// Whether nothing has come since all was read: a committed offset cannot pass the end.
fn stands_still(
    settled: &GroupLag,
    group: &Group,
    topics: &BTreeMap<String, Vec<i32>>,
    ends: &TopicPartitionList,
) -> bool {
    let count: usize = group.topics.iter().filter_map(|topic| topics.get(topic)).map(Vec::len).sum();
    settled.partitions.len() == count
        && settled
            .partitions
            .iter()
            .all(|known| offset_of(ends, &known.topic, known.partition).is_ok_and(|end| end == known.end))
}

fn lag_of(
    group: &Group,
    topics: &BTreeMap<String, Vec<i32>>,
    ends: &TopicPartitionList,
    begins: &TopicPartitionList,
    known: &mut Known,
    connection: &Connection,
) -> Result<GroupLag, Unknown> {
    if let Some(missing) = group.topics.iter().find(|topic| !topics.contains_key(*topic)) {
        return Err(Unknown::TopicNotFound(missing.clone()));
    }
    let client = match known.client.take() {
        Some((client, _)) => client,
        None => connection.observer(&group.id)?,
    };
    let committed = client
        .committed_offsets(partitions(topics, [group]), PATIENCE)
        .map_err(|source| request(&format!("ask for the offsets of group {}", group.id), source));
    known.client = Some((client, Instant::now()));
    let mut lag = GroupLag::default();
    for element in committed?.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        element.error().map_err(|source| request(&format!("ask for the offset of {topic}-{partition}"), source))?;
        let end = offset_of(ends, topic, partition)?;
        let begin = offset_of(begins, topic, partition)?;
        let position = match element.offset() {
            Offset::Offset(offset) => offset.max(begin),
            // Where a group begins elsewhere, that was committed before: see `begin_group`.
            _ => begin,
        };
        lag.partitions.push(PartitionLag { topic: topic.to_owned(), partition, end, position });
    }
    Ok(lag)
}

/// One `ListOffsets` request to each broker; `which` is the end or the beginning, which the
/// protocol asks for as the times -1 and -2.
fn offsets(
    client: &BaseConsumer,
    partitions: &TopicPartitionList,
    which: Offset,
    action: &str,
) -> Result<TopicPartitionList, Error> {
    if partitions.count() == 0 {
        return Ok(TopicPartitionList::new());
    }
    let mut asked = partitions.clone();
    asked.set_all_offsets(which).map_err(|source| request(action, source))?;
    client.offsets_for_times(asked, PATIENCE).map_err(|source| request(action, source))
}

fn offset_of(offsets: &TopicPartitionList, topic: &str, partition: i32) -> Result<i64, Error> {
    let action = || format!("find an offset of {topic}-{partition}");
    let element = offsets.find_partition(topic, partition);
    let element = element.ok_or_else(|| request(&action(), KafkaError::NoMessageReceived))?;
    element.error().map_err(|source| request(&action(), source))?;
    match element.offset() {
        Offset::Offset(offset) => Ok(offset),
        _ => Err(request(&action(), KafkaError::NoMessageReceived)),
    }
}

fn request(action: &str, source: KafkaError) -> Error {
    Error::Request { action: action.to_owned(), source }
}
