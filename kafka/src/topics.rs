//! Topics as they should be: made where missing, partitions grown, nothing taken away.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication},
    types::RDKafkaErrorCode,
};
use std::collections::BTreeMap;

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTarget {
    /// Its name.
    pub name: String,
    /// How many partitions at least.
    pub partitions: i32,
    /// Copies of each partition; `None` leaves it to the brokers.
    pub replicas: Option<i32>,
    /// Topic configuration as Kafka names it.
    pub config: BTreeMap<String, String>,
}

/// Kafka's own limit of a record batch, in bytes.
const USUAL_LIMIT: u64 = 1_048_588;
/// What a dead letter has beyond its record: seven headers, of which two are cut to a length.
const HEADROOM: u64 = 16 << 10;
/// How long dead letters are kept: 30 days, in milliseconds.
const RETENTION: &str = "2592000000";

/// The topic `name` for the dead letters of `topic`: as many partitions, and room for each record
/// that fitted there with the reason of its failure.
#[must_use]
pub fn dead_letters_of(topic: &TopicTarget, name: String) -> TopicTarget {
    let limit = topic.config.get("max.message.bytes").and_then(|text| text.parse().ok()).unwrap_or(USUAL_LIMIT);
    let config = [
        ("max.message.bytes", (limit + HEADROOM).to_string()),
        ("retention.ms", RETENTION.to_owned()),
        ("compression.type", "lz4".to_owned()),
    ];
    let config = config.map(|(name, value)| (name.to_owned(), value)).into();
    TopicTarget { name, partitions: topic.partitions, replicas: topic.replicas, config }
}

/// What was done about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Created,
    /// It got more partitions.
    Grown,
    /// It was as it should be, or larger.
    Unchanged,
}

/// Partitions of each topic of the cluster.
///
/// # Errors
/// When no broker answers in time.
pub fn topic_partitions(connection: &Connection) -> Result<BTreeMap<String, i32>, Error> {
    let metadata = connection.metadata(None)?;
    Ok(metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
        .collect())
}

/// Makes the topics that are missing and grows those with fewer partitions.
///
/// # Errors
/// When no broker answers, or one refuses a topic.
pub async fn ensure_topics(connection: &Connection, targets: &[TopicTarget]) -> Result<Vec<(String, Ensured)>, Error> {
    let asked = connection.clone();
    let present =
        tokio::task::spawn_blocking(move || topic_partitions(&asked)).await.expect("asking does not panic")?;
    let admin = connection.admin()?;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let mut done = Vec::new();
    for target in targets {
        let (action, ensured, results) = match present.get(&target.name) {
            None => {
                let replication = TopicReplication::Fixed(target.replicas.unwrap_or(-1));
                let topic = target
                    .config
                    .iter()
                    .fold(NewTopic::new(&target.name, target.partitions, replication), |topic, (key, value)| {
                        topic.set(key, value)
                    });
                ("create", Ensured::Created, admin.create_topics([&topic], &options).await)
            }
            Some(partitions) if *partitions < target.partitions => {
                let count = usize::try_from(target.partitions).unwrap_or_default();
                let grown = NewPartitions::new(&target.name, count);
                ("grow", Ensured::Grown, admin.create_partitions([&grown], &options).await)
            }
            Some(_) => {
                done.push((target.name.clone(), Ensured::Unchanged));
                continue;
            }
        };
        let results =
            results.map_err(|source| Error::Request { action: format!("{action} topic {}", target.name), source })?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => done.push((target.name.clone(), ensured)),
                Err((topic, code)) => return Err(Error::Topic { action, topic, code }),
            }
        }
    }
    Ok(done)
}
