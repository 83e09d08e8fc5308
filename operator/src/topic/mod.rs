//! `Topic`: create or grow → configuration → schema → status; and its end.

mod schema;

use crate::{
    clusters::Cluster,
    conditions::{self, Say},
    context::{Context, key_of},
    observer::{Health, describe},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::{
        controller::Action,
        finalizer::{self, Event, finalizer},
    },
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tidemill_api::{DeletionPolicy, KafkaCluster, Topic, TopicStatus, reasons};
use tidemill_kafka::{Ensured, TopicTarget, correct_config, delete_topic, ensure_topics};

/// Who writes the status.
const MANAGER: &str = "tidemill-operator/topic";
/// Keeps the resource until its topic is deleted, where that is its policy.
const FINALIZER: &str = "tidemill.dev/topic";
/// How often a topic is compared with its resource: Kafka tells nobody of a change.
const DRIFT: Duration = Duration::from_secs(300);
/// Until a refused topic is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// Why a topic could not be reconciled for now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
    /// The topic could not be deleted.
    #[error("failed to delete the topic")]
    Delete(#[source] tidemill_kafka::Error),
    /// Its cluster can't be asked to delete it.
    #[error("KafkaCluster {0} is not there: create it again, or set deletionPolicy: Retain")]
    NoCluster(String),
    /// The finalizer could not be handled.
    #[error("failed to end the resource")]
    Finalizer(#[source] Box<finalizer::Error<Error>>),
}

/// The cluster of a topic, as `namespace/name`.
#[must_use]
pub fn cluster_of(topic: &Topic) -> String {
    let cluster = &topic.spec.cluster;
    let namespace = topic.metadata.namespace.as_deref().unwrap_or_default();
    if cluster.contains('/') { cluster.clone() } else { format!("{namespace}/{cluster}") }
}

/// Brings Kafka to what the topic says.
///
/// # Errors
/// When the API server or Kafka does not answer; it is tried again.
pub async fn reconcile(topic: Arc<Topic>, context: Arc<Context>) -> Result<Action, Error> {
    let ours = topic.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    if topic.spec.deletion_policy != DeletionPolicy::Delete && !ours {
        return if topic.metadata.deletion_timestamp.is_some() {
            Ok(Action::await_change())
        } else {
            apply(&topic, &context).await
        };
    }
    let namespace = topic.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Topic> = Api::namespaced(context.client.clone(), &namespace);
    finalizer(&api, FINALIZER, topic, |event| async {
        match event {
            Event::Apply(topic) => apply(&topic, &context).await,
            Event::Cleanup(topic) => cleanup(&topic, &context).await,
        }
    })
    .await
    .map_err(|error| Error::Finalizer(Box::new(error)))
}

/// Tries again later.
pub fn retry(topic: Arc<Topic>, error: &Error, _context: Arc<Context>) -> Action {
    tracing::warn!(topic = key_of(&*topic), error = describe(error), "topic not reconciled");
    Action::requeue(Duration::from_secs(5))
}

async fn cleanup(topic: &Topic, context: &Context) -> Result<Action, Error> {
    if topic.spec.deletion_policy != DeletionPolicy::Delete {
        return Ok(Action::await_change());
    }
    let name = cluster_of(topic);
    if context.clusters.get(&name).is_some() && !is_let_in(topic, context) {
        // It never was this resource's topic to delete.
        let note = format!("the topic is kept: KafkaCluster {name} does not let in this namespace");
        context.event(topic, true, reasons::CLUSTER_NOT_FOUND, note).await;
        return Ok(Action::await_change());
    }
    if let Some(other) = twin(topic, context) {
        let note = format!("the topic is kept: Topic {other} declares it too");
        context.event(topic, true, reasons::NAME_TAKEN, note).await;
        return Ok(Action::await_change());
    }
    let cluster = match context.clusters.get(&name) {
        Some(Ok(cluster)) => cluster,
        Some(Err(unusable)) => {
            let note = format!(
                "the topic cannot be deleted, KafkaCluster {name}: {}; make it usable, or set spec.deletionPolicy to Retain",
                unusable.message
            );
            context.event(topic, true, unusable.reason, note).await;
            return Err(Error::NoCluster(name));
        }
        None => {
            // Its namespace may be going: nothing must wait for a cluster that will not come back.
            let note = format!("the topic is kept: KafkaCluster {name} is not there any more");
            context.event(topic, true, reasons::CLUSTER_NOT_FOUND, note).await;
            return Ok(Action::await_change());
        }
    };
    delete_topic(&cluster.connection, topic.topic_name()).await.map_err(Error::Delete)?;
    cluster.observer.topics_changed();
    Ok(Action::await_change())
}

/// Whether the cluster that the topic names lets in its namespace; one that is not there does not.
fn is_let_in(topic: &Topic, context: &Context) -> bool {
    let key = cluster_of(topic);
    let own = topic.metadata.namespace.as_deref().unwrap_or_default();
    let Some((namespace, name)) = key.split_once('/') else { return false };
    let is_it = |cluster: &KafkaCluster| {
        cluster.metadata.namespace.as_deref() == Some(namespace) && cluster.metadata.name.as_deref() == Some(name)
    };
    let found = context.stores.own.clusters.find(is_it);
    namespace == own || found.is_some_and(|cluster| cluster.spec.allowed_namespaces.iter().any(|one| one == own))
}

/// Another resource that declares the same topic, and was there before where both stay.
fn twin(topic: &Topic, context: &Context) -> Option<String> {
    let cluster = cluster_of(topic);
    let same = |other: &Topic| {
        other.metadata.uid != topic.metadata.uid
            && other.metadata.deletion_timestamp.is_none()
            && other.topic_name() == topic.topic_name()
            && cluster_of(other) == cluster
    };
    let leaving = topic.metadata.deletion_timestamp.is_some();
    let age = |one: &Topic| one.metadata.creation_timestamp.as_ref().map(|time| (time.0, one.metadata.uid.clone()));
    let found = context.stores.own.topics.find(|other| same(other) && (leaving || age(other) < age(topic)));
    found.map(|other| key_of(&*other))
}

async fn apply(topic: &Topic, context: &Context) -> Result<Action, Error> {
    let (say, partitions, again) = match usable(topic, context).and_then(|cluster| answers(topic, cluster, context)) {
        Err(say) => {
            let again = [reasons::NAME_TAKEN, reasons::CLUSTER_UNREACHABLE].contains(&say.reason).then_some(AGAIN);
            (say, None, again)
        }
        Ok(cluster) => match bring_to(topic, &cluster, context).await {
            Ok(partitions) => {
                let message = format!("the topic is as declared in KafkaCluster {}", cluster.key);
                (Say::yes(reasons::READY, reasons::IN_SYNC, message), partitions, Some(DRIFT))
            }
            Err((say, partitions)) => (say, partitions, Some(AGAIN)),
        },
    };
    status(topic, say, partitions, context).await?;
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

/// The cluster, where it answers and no other resource declares the same topic.
fn answers(topic: &Topic, cluster: Arc<Cluster>, context: &Context) -> Result<Arc<Cluster>, Say> {
    if let Some(other) = twin(topic, context) {
        let message = format!("Topic {other} declares the same topic: remove one of them");
        return Err(Say::no(reasons::READY, reasons::NAME_TAKEN, message));
    }
    if let Health::Silent(error) = cluster.observer.health() {
        // Not asked: those who wait for an answer would hold up everybody else's topics.
        let message = format!("KafkaCluster {} does not answer: {error}", cluster.key);
        return Err(Say::no(reasons::READY, reasons::CLUSTER_UNREACHABLE, message));
    }
    Ok(cluster)
}

fn usable(topic: &Topic, context: &Context) -> Result<Arc<Cluster>, Say> {
    let key = cluster_of(topic);
    let own = topic.metadata.namespace.as_deref().unwrap_or_default();
    let no = |reason, message| Err(Say::no(reasons::READY, reason, message));
    match context.clusters.get(&key) {
        None => {
            no(reasons::CLUSTER_NOT_FOUND, format!("KafkaCluster {key} is not there: create it, or name another one"))
        }
        Some(Err(unusable)) => no(unusable.reason, format!("KafkaCluster {key}: {}", unusable.message)),
        Some(Ok(cluster)) => {
            let at_home = key.split_once('/').is_some_and(|(namespace, _)| namespace == own);
            if at_home || cluster.spec.allowed_namespaces.iter().any(|allowed| allowed == own) {
                return Ok(cluster);
            }
            let message =
                format!("KafkaCluster {key} does not let in this namespace: add `{own}` to its spec.allowedNamespaces");
            no(reasons::CLUSTER_NOT_FOUND, message)
        }
    }
}

/// Makes Kafka as declared; answers how many partitions there are.
async fn bring_to(topic: &Topic, cluster: &Cluster, context: &Context) -> Result<Option<i32>, (Say, Option<i32>)> {
    let name = topic.topic_name();
    let target = TopicTarget {
        name: name.to_owned(),
        partitions: topic.spec.partitions,
        replicas: topic.spec.replicas,
        config: topic.spec.config.clone(),
    };
    let mut partitions = cluster.observer.partitions(name);
    let refused = |error: &tidemill_kafka::Error| {
        let message = format!("{}: change the field that Kafka refuses, or ask the cluster's owner", describe(error));
        Say::no(reasons::READY, reasons::REFUSED_BY_KAFKA, message)
    };
    let done = ensure_topics(&cluster.connection, &[target]).await.map_err(|error| (refused(&error), partitions))?;
    for (name, ensured) in done {
        let note = match ensured {
            Ensured::Unchanged => continue,
            Ensured::Created => format!("topic {name} was made with {} partitions", topic.spec.partitions),
            Ensured::Grown => format!("topic {name} was grown to {} partitions", topic.spec.partitions),
        };
        partitions = Some(topic.spec.partitions);
        cluster.observer.topics_changed();
        context.event(topic, false, reasons::TOPIC_CREATED, note).await;
    }
    let corrected = correct_config(&cluster.connection, name, &topic.spec.config)
        .await
        .map_err(|error| (refused(&error), partitions))?;
    if !corrected.is_empty() {
        let note = format!("set to what is declared: {}", corrected.join(", "));
        context.event(topic, false, reasons::DRIFT_CORRECTED, note).await;
    }
    if let Some(more) = partitions.filter(|found| *found > topic.spec.partitions) {
        let message =
            format!("the topic has {more} partitions and Kafka cannot take any away: set spec.partitions to {more}");
        return Err((Say::no(reasons::READY, reasons::REFUSED_BY_KAFKA, message), partitions));
    }
    schema::register(topic, cluster, context).await.map_err(|say| (say, partitions))?;
    Ok(partitions.or(Some(topic.spec.partitions)))
}

async fn status(topic: &Topic, say: Say, partitions: Option<i32>, context: &Context) -> Result<(), Error> {
    let before = topic.status.clone().unwrap_or_default();
    let (conditions, changed) = conditions::merge(&before.conditions, vec![say], topic.metadata.generation);
    let partitions = partitions.or(before.partitions);
    let status = TopicStatus { conditions, partitions, observed_generation: topic.metadata.generation };
    if status == before {
        return Ok(());
    }
    let (namespace, name) = (topic.metadata.namespace.as_deref(), topic.metadata.name.as_deref());
    let api: Api<Topic> = Api::namespaced(context.client.clone(), namespace.unwrap_or_default());
    let patch = json!({"apiVersion": "tidemill.dev/v1alpha1", "kind": "Topic", "status": status});
    api.patch_status(name.unwrap_or_default(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(Error::Status)?;
    for condition in changed {
        context.event(topic, condition.status != "True", &condition.reason, condition.message).await;
    }
    Ok(())
}
