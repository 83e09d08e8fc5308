//! The topics that a run needs: those declared, and those that its functions name.

use crate::folder::Folder;
use std::collections::BTreeMap;
use tidemill_api::plan::Plan;
use tidemill_kafka::{TopicTarget, dead_letters_of};

/// Partitions of a topic that nobody declares.
const PARTITIONS: i32 = 3;

/// Every topic of the folder; `most_replicas` is how many the brokers can hold.
#[must_use]
pub fn needed(folder: &Folder, plans: &[Plan], most_replicas: i32) -> Vec<TopicTarget> {
    let mut topics: BTreeMap<String, TopicTarget> = folder
        .topics
        .iter()
        .map(|topic| {
            let name = topic.topic_name().to_owned();
            let target = TopicTarget {
                name: name.clone(),
                partitions: topic.spec.partitions,
                replicas: Some(topic.spec.replicas.unwrap_or(most_replicas.min(2)).min(most_replicas)),
                config: topic.spec.config.clone(),
            };
            (name, target)
        })
        .collect();
    for plan in plans {
        for topic in plan.kafka().iter().flat_map(|kafka| &kafka.topics) {
            declare(&mut topics, topic, PARTITIONS, most_replicas);
            if let Some(letters) = plan.dead_letter_topic(topic) {
                let like = topics[topic].clone();
                topics.entry(letters.clone()).or_insert_with(|| dead_letters_of(&like, letters));
            }
        }
        for topic in plan.written_topics() {
            declare(&mut topics, &topic, PARTITIONS, most_replicas);
        }
    }
    topics.into_values().collect()
}

fn declare(topics: &mut BTreeMap<String, TopicTarget>, name: &str, partitions: i32, most_replicas: i32) {
    topics.entry(name.to_owned()).or_insert_with(|| TopicTarget {
        name: name.to_owned(),
        partitions,
        replicas: Some(most_replicas.min(2)),
        config: BTreeMap::new(),
    });
}
