//! How many records consumer groups have still to read.
//!
//! What cannot be learned is an error, never a zero: a scaler that took a broker's silence for
//! "no lag" would put a function to rest while records wait.

use crate::{
    Connection, Error, PATIENCE,
    log_offsets::LogOffsets,
    offsets::{Committed, committed},
    probe::{Probe, Stretch},
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::debug;

/// How long the topics of the cluster are taken as known.
const TOPICS_KNOWN: Duration = Duration::from_secs(10);
/// How long they are while a topic that a group reads is missing.
const TOPICS_MISSING: Duration = Duration::from_secs(1);
/// How long a group that has lag may stand still before it is looked whether records are there.
const STANDS_STILL: Duration = Duration::from_secs(2);

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// `group.id`.
    pub id: String,
    /// The topics it reads.
    pub topics: Vec<String>,
}

/// A group that is looked at, and whether nobody works for it: then it is looked whether records
/// are there before it is said to have lag.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The group.
    pub group: &'a Group,
    /// Whether it has no members by intention.
    pub resting: bool,
}

/// Why the lag of a group is unknown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unknown {
    /// A topic that it reads is not there.
    #[error("topic {0} is not there")]
    TopicNotFound(String),
    /// A broker did not answer, or refused.
    #[error(transparent)]
    Kafka(Arc<Error>),
}

impl From<Error> for Unknown {
    fn from(error: Error) -> Self {
        Self::Kafka(Arc::new(error))
    }
}

/// Looks at the lag of groups of one cluster, again and again, without joining them.
///
/// All groups share one client and one request round: for where topics end, then for the offsets
/// of those groups whose topics got records or that had some to read.
pub struct ClusterObserver {
    connection: Connection,
    client: BaseConsumer,
    probe: Probe,
    topics: Option<(Instant, BTreeMap<String, Vec<i32>>)>,
    brokers: i32,
    groups: HashMap<Group, Known>,
    requests: u64,
}

/// What is kept of a group from look to look.
struct Known {
    lag: GroupLag,
    /// Since when it is as it is.
    since: Instant,
}

impl ClusterObserver {
    /// An observer of a cluster.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        Ok(Self {
            connection: connection.clone(),
            client: connection.observer("tidemill.observer")?,
            probe: Probe::new(connection),
            topics: None,
            brokers: 0,
            groups: HashMap::new(),
            requests: 0,
        })
    }

    /// The lag of each group as it is now, in the order of `asked`.
    ///
    /// # Errors
    /// When no broker answers: then nothing is known of any group.
    pub fn look(&mut self, asked: &[Asked<'_>]) -> Result<Vec<Result<GroupLag, Unknown>>, Error> {
        self.learn_topics(asked)?;
        let topics = self.topics.as_ref().map(|(_, topics)| topics).expect("the topics were just learned");
        let groups = || asked.iter().map(|asked| asked.group);
        let ends =
            LogOffsets::ask(&self.client, &partitions(topics, groups()), Offset::End, "ask where the topics end")?;
        let missing = |group: &Group| group.topics.iter().find(|topic| !topics.contains_key(*topic)).cloned();
        let (lacking, whole): (Vec<_>, Vec<_>) =
            groups().map(|group| (group, missing(group))).partition(|(_, missing)| missing.is_some());
        let moved: Vec<&Group> = whole
            .into_iter()
            .map(|(group, _)| group)
            .filter(|group| {
                let known = self.groups.get(group).filter(|known| known.lag.total() == 0);
                known.is_none_or(|known| !stands_still(&known.lag, group, topics, &ends))
            })
            .collect();
        let begins = partitions(topics, moved.iter().copied());
        let begins = LogOffsets::ask(&self.client, &begins, Offset::Beginning, "ask where the topics begin")?;
        let requests: Vec<_> = moved.iter().map(|group| (group.id.as_str(), partitions(topics, [*group]))).collect();
        let committed = committed(&self.client, &requests);
        let brokers = self.brokers.unsigned_abs();
        let looks = [!asked.is_empty(), !moved.is_empty()].into_iter().filter(|made| *made).count() as u64;
        self.requests += u64::from(brokers) * looks + requests.len() as u64;
        // A commit can only be past an end that was asked for before it. Where it still is past it
        // now, the topic was made anew, or has lost records: it is read from its first one.
        let past: Vec<&Group> = moved
            .iter()
            .zip(&committed)
            .filter_map(|(group, committed)| committed.as_ref().ok().map(|committed| (*group, committed)))
            .filter(|(_, committed)| committed.iter().any(|(place, offset)| is_past(place, *offset, &ends)))
            .map(|(group, _)| group)
            .collect();
        let later = LogOffsets::ask(&self.client, &partitions(topics, past), Offset::End, "ask where the topics end")?;
        let mut found: HashMap<&Group, Result<GroupLag, Unknown>> = lacking
            .into_iter()
            .filter_map(|(group, missing)| Some((group, Err(Unknown::TopicNotFound(missing?)))))
            .collect();
        for (group, committed) in moved.iter().zip(committed) {
            let lag = committed
                .map_err(|source| request(&format!("ask for the offsets of group {}", group.id), source).into())
                .and_then(|committed| lag_of(group, topics, [&later, &ends], &begins, &committed));
            found.insert(*group, lag);
        }
        let now = Instant::now();
        let suspect: Vec<Stretch> = asked
            .iter()
            .filter_map(|asked| Some((asked, found.get(asked.group)?.as_ref().ok()?)))
            .filter(|(asked, lag)| asked.resting || self.is_still(asked.group, lag, now))
            .flat_map(|(_, lag)| lag.partitions.iter().filter(|partition| partition.lag() > 0).map(stretch))
            .collect();
        if let Err(error) = self.probe.look(&suspect) {
            // Not to know whether records wait is to count them.
            debug!(%error, "records that wait could not be looked for");
        }
        let answers = asked.iter().map(|Asked { group, .. }| {
            let Some(lag) = found.get(*group).cloned() else {
                return Ok(self.groups.get(*group).map(|known| known.lag.clone()).unwrap_or_default());
            };
            let mut lag = lag?;
            for partition in &mut lag.partitions {
                if partition.lag() > 0
                    && let Some(first) = self.probe.first(&stretch(partition))
                {
                    partition.position = first;
                }
            }
            let since = match self.groups.get(*group) {
                Some(known) if known.lag == lag => known.since,
                _ => now,
            };
            self.groups.insert((*group).clone(), Known { lag: lag.clone(), since });
            Ok(lag)
        });
        Ok(answers.collect())
    }

    /// Requests made so far: one for topics, one to each broker for where they end or begin, one
    /// for each group's offsets.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Forgets a group.
    pub fn forget(&mut self, group: &Group) {
        self.groups.remove(group);
    }

    fn is_still(&self, group: &Group, lag: &GroupLag, now: Instant) -> bool {
        self.groups.get(group).is_some_and(|known| known.lag == *lag && now.duration_since(known.since) >= STANDS_STILL)
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

    fn learn_topics(&mut self, asked: &[Asked<'_>]) -> Result<(), Error> {
        if let Some((since, topics)) = &self.topics {
            let mut needed = asked.iter().flat_map(|asked| &asked.group.topics);
            let missing = needed.any(|topic| !topics.contains_key(topic));
            if since.elapsed() < if missing { TOPICS_MISSING } else { TOPICS_KNOWN } {
                return Ok(());
            }
        }
        let action = || format!("ask {} for its topics", self.connection.bootstrap());
        self.requests += 1;
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
fn stands_still(settled: &GroupLag, group: &Group, topics: &BTreeMap<String, Vec<i32>>, ends: &LogOffsets) -> bool {
    let count: usize = group.topics.iter().filter_map(|topic| topics.get(topic)).map(Vec::len).sum();
    settled.partitions.len() == count
        && settled
            .partitions
            .iter()
            .all(|known| ends.of(&known.topic, known.partition).is_ok_and(|end| end == known.end))
}

fn is_past((topic, partition): &(String, i32), offset: i64, ends: &LogOffsets) -> bool {
    ends.of(topic, *partition).is_ok_and(|end| offset > end)
}

fn stretch(lag: &PartitionLag) -> Stretch {
    Stretch { topic: lag.topic.clone(), partition: lag.partition, from: lag.position, to: lag.end }
}

/// `ends` are tried in their order.
fn lag_of(
    group: &Group,
    topics: &BTreeMap<String, Vec<i32>>,
    ends: [&LogOffsets; 2],
    begins: &LogOffsets,
    committed: &Committed,
) -> Result<GroupLag, Unknown> {
    let mut lag = GroupLag::default();
    for topic in &group.topics {
        let Some(ids) = topics.get(topic) else { return Err(Unknown::TopicNotFound(topic.clone())) };
        for partition in ids.iter().copied() {
            let known = ends.into_iter().find(|ends| ends.has(topic, partition));
            let end = known.unwrap_or(ends[1]).of(topic, partition)?;
            let begin = begins.of(topic, partition)?;
            // Without a commit: where a group begins elsewhere, that was committed before, see
            // `begin_group`. With one beyond the end it is another log than the one it was of.
            let position = committed.get(&(topic.clone(), partition)).filter(|offset| **offset <= end);
            let position = position.map_or(begin, |offset| (*offset).max(begin));
            lag.partitions.push(PartitionLag { topic: topic.clone(), partition, end, position });
        }
    }
    Ok(lag)
}

fn request(action: &str, source: KafkaError) -> Error {
    Error::Request { action: action.to_owned(), source }
}
