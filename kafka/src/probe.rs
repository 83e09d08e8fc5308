//! Whether records wait where offsets say so.
//!
//! Offsets are also taken by transaction markers, by aborted records and by those that compaction
//! has removed: a group can be behind the end and have nothing to read. To know, one reads.

use crate::{Connection, Error};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// The most partitions of which answers are kept.
const KEPT: usize = 20_000;
/// How long one look may take: what was not reached by then counts as records that wait.
const PROBED: Duration = Duration::from_secs(2);
/// How long a client is kept without need.
const IDLE: Duration = Duration::from_secs(30);

/// A stretch of a partition's offsets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The one after the last.
    pub to: i64,
}

/// What was found from an offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// No record up to there.
    NoneBefore { from: i64, to: i64 },
    /// The first record is there.
    First { from: i64, at: i64 },
}

/// Reads ahead of groups, without being a member of any.
pub struct Probe {
    connection: Connection,
    client: Option<(BaseConsumer, Instant)>,
    found: HashMap<(String, i32), Found>,
}

impl Probe {
    /// A probe of a cluster.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self { connection: connection.clone(), client: None, found: HashMap::new() }
    }

    /// Where the first record of the stretch is, `to` where it holds none; `None` where nobody has
    /// looked.
    #[must_use]
    pub fn first(&self, stretch: &Stretch) -> Option<i64> {
        match *self.found.get(&(stretch.topic.clone(), stretch.partition))? {
            Found::NoneBefore { from, to } if from <= stretch.from && stretch.to <= to => Some(stretch.to),
            Found::First { from, at } if from <= stretch.from && stretch.from <= at && at < stretch.to => Some(at),
            _ => None,
        }
    }

    /// Looks into the stretches of which nothing is known yet.
    ///
    /// # Errors
    /// When a broker does not answer. Stretches that were not reached in time stay unknown.
    pub fn look(&mut self, stretches: &[Stretch]) -> Result<(), Error> {
        let unknown: Vec<&Stretch> = stretches.iter().filter(|stretch| self.first(stretch).is_none()).collect();
        if unknown.is_empty() {
            self.client.take_if(|(_, used)| used.elapsed() > IDLE);
            return Ok(());
        }
        if self.found.len() > KEPT {
            self.found.clear();
        }
        let failed = |source| Error::Request { action: "look for records that wait".to_owned(), source };
        let client = match self.client.take() {
            Some((client, _)) => client,
            None => client(&self.connection)?,
        };
        let mut topics: BTreeMap<&str, HashMap<i32, &Stretch>> = BTreeMap::new();
        for stretch in unknown {
            topics.entry(&stretch.topic).or_default().insert(stretch.partition, stretch);
        }
        let deadline = Instant::now() + PROBED;
        // One topic at a time: that a partition was read to its end is told without the topic.
        for (topic, stretches) in topics {
            self.read(&client, topic, stretches, deadline).map_err(failed)?;
        }
        client.assign(&TopicPartitionList::new()).map_err(failed)?;
        self.client = Some((client, Instant::now()));
        Ok(())
    }

    fn read(
        &mut self,
        client: &BaseConsumer,
        topic: &str,
        mut open: HashMap<i32, &Stretch>,
        deadline: Instant,
    ) -> Result<(), KafkaError> {
        let mut places = TopicPartitionList::new();
        for (partition, stretch) in &open {
            places.add_partition_offset(topic, *partition, Offset::Offset(stretch.from))?;
        }
        client.assign(&places)?;
        // A pause outlasts an assignment.
        client.resume(&places)?;
        while !open.is_empty() {
            let (partition, at) = match client.poll(deadline.saturating_duration_since(Instant::now())) {
                None => return Ok(()),
                Some(Ok(message)) if message.topic() != topic => continue,
                Some(Ok(message)) => (message.partition(), Some(message.offset())),
                Some(Err(KafkaError::PartitionEOF(partition))) => (partition, None),
                Some(Err(error)) => return Err(error),
            };
            let Some(stretch) = open.remove(&partition) else { continue };
            let mut done = TopicPartitionList::new();
            done.add_partition(topic, partition);
            client.pause(&done)?;
            let Stretch { from, to, .. } = *stretch;
            let found = match at.filter(|at| *at < to) {
                Some(at) => Found::First { from, at },
                None => Found::NoneBefore { from, to },
            };
            self.found.insert((topic.to_owned(), partition), found);
        }
        Ok(())
    }
}

fn client(connection: &Connection) -> Result<BaseConsumer, Error> {
    connection
        .client_config()
        .set("group.id", "tidemill.probe")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        // One record says enough.
        .set("fetch.message.max.bytes", "1024")
        .set("queued.min.messages", "1")
        .set("fetch.wait.max.ms", "100")
        .create()
        .map_err(|source| Error::Client { bootstrap: connection.bootstrap().to_owned(), source })
}
