//! Writes what was built: the Deployment by server-side apply, the topics of dead letters.
//!
//! Nothing is written that is there already as it should be.

use super::{Error, validate::Validated};
use crate::context::{Context, key_of};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tidemill_api::{Function, plan::FailurePlan, reasons};
use tidemill_kafka::{TopicTarget, dead_letters_of, ensure_topics, topic_partitions};
use tidemill_runner::consumer;

/// Who owns the fields of a Deployment that the operator sets.
const MANAGER: &str = "tidemill-operator/deployment";

/// What a ReplicaSet orders its pods by when some have to go.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What was last applied for each function, and the generation that came of it.
#[derive(Default)]
pub struct Applied(Mutex<HashMap<String, Last>>);

/// The digest of what was applied, and the generation that came of it.
type Last = (Vec<u8>, Option<i64>);

impl Applied {
    /// Forgets a function that is gone.
    pub fn remove(&self, key: &str) {
        self.0.lock().remove(key);
    }
}

/// Brings the Deployment to what was built. `None`: an object of that name is someone else's.
///
/// # Errors
/// When the API server does not answer.
pub async fn deployment(
    function: &Function,
    built: Deployment,
    context: &Context,
) -> Result<Option<Arc<Deployment>>, Error> {
    let key = key_of(function);
    let (namespace, name) = (built.namespace().unwrap_or_default(), built.name_any());
    let digest = Sha256::digest(serde_json::to_vec(&built).expect("a Deployment is JSON")).to_vec();
    let live = context.stores.deployment(&namespace, &name);
    if let Some(live) = &live
        && context.applied.0.lock().get(&key) == Some(&(digest.clone(), live.metadata.generation))
    {
        return Ok(Some(live.clone()));
    }
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
    let failed = |source| Error::Apply { name: name.clone(), source };
    if live.is_none() {
        let other = api.get_metadata_opt(&name).await.map_err(failed)?;
        if other.is_some_and(|other| {
            !other.owner_references().iter().any(|owner| Some(&owner.uid) == function.metadata.uid.as_ref())
        }) {
            return Ok(None);
        }
    }
    let before = live.as_ref().and_then(|live| live.spec.as_ref()?.replicas).unwrap_or_default();
    let replicas = built.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    if 0 < replicas && replicas < before {
        idle_first(&namespace, &key, context).await;
    }
    let params = PatchParams::apply(MANAGER).force();
    let after = api.patch(&name, &params, &Patch::Apply(&built)).await.map_err(failed)?;
    metrics::counter!("tidemill_operator_applied_total", "kind" => "Deployment").increment(1);
    context.applied.0.lock().insert(key.clone(), (digest, after.metadata.generation));
    if replicas != before {
        let reason = context.loads.reason(&key);
        tracing::info!(function = key, from = before, to = replicas, reason, "scaled");
        context.event(function, false, reasons::SCALED, format!("{before} → {replicas}: {reason}")).await;
    }
    Ok(Some(Arc::new(after)))
}

/// Has the ReplicaSet take away the pods that do least.
async fn idle_first(namespace: &str, key: &str, context: &Context) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    for (pod, cost) in context.loads.deletion_costs(key) {
        let patch = json!({"metadata": {"annotations": {DELETION_COST: cost.to_string()}}});
        if let Err(error) = api.patch_metadata(&pod, &PatchParams::default(), &Patch::Merge(&patch)).await {
            // It goes without: then the newest go first.
            tracing::debug!(%error, pod, "no deletion cost");
        }
    }
}

/// Whether a topic of the trigger is there and the one for its dead letters is not.
#[must_use]
pub fn lacks_dead_letters(validated: &Validated) -> bool {
    let (plan, observer) = (&validated.plan, &validated.trigger_cluster.observer);
    let lacking = |topic: &String| {
        let letters = plan.dead_letter_topic(topic).is_none_or(|letters| observer.partitions(&letters).is_some());
        observer.partitions(topic).is_some() && !letters
    };
    plan.on_failure == FailurePlan::OwnTopic && plan.kafka().is_some_and(|kafka| kafka.topics.iter().any(lacking))
}

/// Before a function is first looked at (`begins`) where its group begins is committed: a topic that
/// comes later is read from its first record. The topics of its dead letters are made where the
/// manifest names no other destination.
///
/// # Errors
/// When Kafka does not answer, or refuses.
pub async fn in_kafka(validated: &Validated, begins: bool) -> Result<(), Error> {
    let plan = &validated.plan;
    let Some(kafka) = plan.kafka() else { return Ok(()) };
    let cluster = &validated.trigger_cluster;
    if begins {
        consumer::begin(&cluster.connection, kafka).await.map_err(Error::Kafka)?;
    }
    // What the observer knows of the cluster's topics spares most functions a client of their own.
    if !lacks_dead_letters(validated) {
        return Ok(());
    }
    let asked = cluster.connection.clone();
    let there = tokio::task::spawn_blocking(move || topic_partitions(&asked)).await.expect("asking does not panic");
    let there = there.map_err(Error::Kafka)?;
    let missing = kafka.topics.iter().filter_map(|topic| {
        let (partitions, letters) = (*there.get(topic)?, plan.dead_letter_topic(topic)?);
        let like = TopicTarget { name: topic.clone(), partitions, replicas: None, config: BTreeMap::new() };
        (!there.contains_key(&letters)).then(|| dead_letters_of(&like, letters))
    });
    let missing: Vec<TopicTarget> = missing.collect();
    ensure_topics(&cluster.connection, &missing).await.map_err(Error::Kafka)?;
    cluster.observer.topics_changed();
    Ok(())
}
