//! The configuration of a topic that is there, and its end.

use crate::{Connection, Error, PATIENCE};
use rdkafka::{
    admin::{AdminOptions, AlterConfig, ConfigSource, ResourceSpecifier},
    types::RDKafkaErrorCode,
};
use std::collections::BTreeMap;

/// Sets what differs from `wanted`, and answers the names of what was set.
///
/// Settings of the topic that `wanted` does not name stay as they are: Kafka replaces all of a
/// topic's settings at once, so those are sent with the rest.
///
/// # Errors
/// When no broker answers, or one refuses a setting.
pub async fn correct_config(
    connection: &Connection,
    topic: &str,
    wanted: &BTreeMap<String, String>,
) -> Result<Vec<String>, Error> {
    let admin = connection.admin()?;
    let resource = ResourceSpecifier::Topic(topic);
    let failed = |action: &str| {
        let action = format!("{action} topic {topic}");
        move |source| Error::Request { action, source }
    };
    let mut described =
        admin.describe_configs([&resource], &options()).await.map_err(failed("ask for the configuration of"))?;
    let found = match described.pop() {
        Some(Ok(found)) => found,
        Some(Err(code)) => return Err(Error::Topic { action: "describe", topic: topic.to_owned(), code }),
        None => return Ok(Vec::new()),
    };
    let own = found.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    let mut all: BTreeMap<&str, &str> =
        own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?))).collect();
    let differing: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| found.get(name).and_then(|entry| entry.value.as_ref()) != Some(value))
        .map(|(name, _)| name.clone())
        .collect();
    if differing.is_empty() {
        return Ok(differing);
    }
    all.extend(wanted.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let change = all.into_iter().fold(AlterConfig::new(resource), |change, (name, value)| change.set(name, value));
    let results = admin.alter_configs([&change], &options()).await.map_err(failed("configure"))?;
    for result in results {
        result.map_err(|(_, code)| Error::Topic { action: "configure", topic: topic.to_owned(), code })?;
    }
    Ok(differing)
}

/// Deletes a topic with its records; one that is not there counts as deleted.
///
/// # Errors
/// When no broker answers, or one refuses.
pub async fn delete_topic(connection: &Connection, topic: &str) -> Result<(), Error> {
    let results = connection
        .admin()?
        .delete_topics(&[topic], &options())
        .await
        .map_err(|source| Error::Request { action: format!("delete topic {topic}"), source })?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(Error::Topic { action: "delete", topic, code }),
        }
    }
    Ok(())
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}
