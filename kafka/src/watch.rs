//! Waits for the first record on partitions at rest, without asking again and again.
//!
//! One client holds a fetch on all of them: the broker answers when a record comes. A partition
//! on which one came is let go until it is watched again, so that what flows is not fetched.

use crate::{Connection, Error};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A partition: its topic and its number.
pub type Place = (String, i32);

/// How long a broker holds a fetch: a partition that is added waits for its end once.
const HELD: Duration = Duration::from_millis(1_000);

/// Waits for records.
pub struct RecordWatch {
    client: BaseConsumer,
    watched: BTreeMap<Place, i64>,
}

impl RecordWatch {
    /// A watch without partitions.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let client = connection
            .client_config()
            .set("group.id", "tidemill.watch")
            .set("enable.auto.commit", "false")
            // A topic that was made anew is watched from its first record.
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", HELD.as_millis().to_string())
            .set("fetch.message.max.bytes", "1024")
            .set("queued.min.messages", "1")
            .create()
            .map_err(|source| Error::Client { bootstrap: connection.bootstrap().to_owned(), source })?;
        Ok(Self { client, watched: BTreeMap::new() })
    }

    /// Watches these partitions from these offsets on, and no others.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn watch(&mut self, wanted: &BTreeMap<Place, i64>) -> Result<(), Error> {
        let failed = |source| Error::Request { action: "watch partitions".to_owned(), source };
        let gone = self.watched.iter().filter(|(place, offset)| wanted.get(*place) != Some(offset));
        let gone = list(gone).map_err(failed)?;
        if gone.count() > 0 {
            self.client.incremental_unassign(&gone).map_err(failed)?;
        }
        let new = wanted.iter().filter(|(place, offset)| self.watched.get(*place) != Some(offset));
        let new = list(new).map_err(failed)?;
        self.watched.clone_from(wanted);
        if new.count() > 0 {
            self.client.incremental_assign(&new).map_err(failed)?;
        }
        Ok(())
    }

    /// Waits for records; answers on which partitions some came, which are not watched any more.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn wait(&mut self, patience: Duration) -> Result<BTreeSet<Place>, Error> {
        let mut woken = BTreeSet::new();
        let mut left = patience;
        while let Some(polled) = self.client.poll(left) {
            // What else has come is taken along, but not waited for.
            left = Duration::ZERO;
            match polled {
                Ok(message) => {
                    let place = (message.topic().to_owned(), message.partition());
                    if self.watched.contains_key(&place) {
                        woken.insert(place);
                    }
                }
                // It is taken up again by librdkafka; meanwhile looks at intervals see what came.
                Err(KafkaError::MessageConsumption(_)) => {}
                Err(source) => return Err(Error::Request { action: "wait for records".to_owned(), source }),
            }
        }
        let failed = |source| Error::Request { action: "watch partitions".to_owned(), source };
        let gone = list(self.watched.iter().filter(|(place, _)| woken.contains(*place))).map_err(failed)?;
        if gone.count() > 0 {
            self.watched.retain(|place, _| !woken.contains(place));
            self.client.incremental_unassign(&gone).map_err(failed)?;
        }
        Ok(woken)
    }
}

fn list<'a>(places: impl Iterator<Item = (&'a Place, &'a i64)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}
