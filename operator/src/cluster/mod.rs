//! `KafkaCluster`: secrets → connection → observer → status.

mod access;

use crate::{
    clusters::{Cluster, Unusable},
    conditions::{self, Say},
    context::{Context, key_of},
    observer::{Health, Observer},
};
pub use access::secrets_of;
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::controller::Action,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tidemill_api::{KafkaCluster, KafkaClusterStatus, reasons};
use tidemill_kafka::Connection;

/// Who writes the status.
const MANAGER: &str = "tidemill-operator/cluster";

/// Why a cluster could not be reconciled for now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A secret could not be read.
    #[error("failed to read Secret {name}")]
    Secret {
        /// `namespace/name`.
        name: String,
        /// The API server's reason.
        source: kube::Error,
    },
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
}

/// Makes the cluster usable, or says why it is not.
///
/// # Errors
/// When the API server does not answer; it is tried again.
pub async fn reconcile(cluster: Arc<KafkaCluster>, context: Arc<Context>) -> Result<Action, Error> {
    let key = key_of(&*cluster);
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let found = match access::resolve(&cluster, &context).await? {
        Ok(resolved) => Ok(connect(&key, &cluster, resolved, &context)),
        Err(unusable) => Err(unusable),
    };
    if context.clusters.put(&key, found.clone()) {
        look_again(&key, &context);
    }
    let (say, brokers) = state(&cluster, found.as_deref());
    if status(&cluster, say, brokers, &context).await? {
        look_again(&key, &context);
    }
    Ok(Action::await_change())
}

/// Forgets a cluster whose resource is gone.
pub fn gone(key: &str, context: &Context) {
    context.clusters.remove(key);
    look_again(key, context);
}

/// Tries again later.
pub fn retry(_cluster: Arc<KafkaCluster>, error: &Error, _context: Arc<Context>) -> Action {
    tracing::warn!(error = crate::observer::describe(error), "cluster not reconciled");
    Action::requeue(Duration::from_secs(5))
}

/// The cluster's clients: those there are, where nothing has changed.
fn connect(key: &str, cluster: &KafkaCluster, resolved: access::Resolved, context: &Context) -> Arc<Cluster> {
    if let Some(Ok(known)) = context.clusters.get(key)
        && known.version == resolved.version
    {
        return known;
    }
    let connection = Connection::secured(cluster.spec.bootstrap_servers.join(","), resolved.security);
    let observer = Observer::start(key.to_owned(), connection.clone(), context.loads.clone(), context.triggers.clone());
    let (access, version) = (resolved.access, resolved.version);
    Arc::new(Cluster { key: key.to_owned(), spec: cluster.spec.clone(), connection, access, version, observer })
}

/// Everything that uses the cluster looks at it again.
fn look_again(key: &str, context: &Context) {
    for function in context.stores.own.functions.state() {
        if crate::function::dereference::clusters_of(&function).iter().any(|used| used == key) {
            context.triggers.function(&key_of(&*function));
        }
    }
    for topic in context.stores.own.topics.state() {
        if crate::topic::cluster_of(&topic) == key {
            context.triggers.topic(&key_of(&*topic));
        }
    }
}

fn state(cluster: &KafkaCluster, found: Result<&Cluster, &Unusable>) -> (Say, Option<i32>) {
    let servers = cluster.spec.bootstrap_servers.join(",");
    match found.map(|cluster| cluster.observer.health()) {
        Err(Unusable { reason, message }) => (Say::no(reasons::READY, reason, message), None),
        Ok(Health::Unasked) => {
            let message = format!("{servers} is being asked");
            (Say { kind: reasons::READY, status: None, reason: reasons::CONNECTING, message }, None)
        }
        Ok(Health::Answers(brokers)) => (
            Say::yes(
                reasons::READY,
                reasons::CONNECTED,
                match brokers {
                    1 => "1 broker answers".to_owned(),
                    more => format!("{more} brokers answer"),
                },
            ),
            Some(brokers),
        ),
        Ok(Health::Silent(error)) => {
            let message = format!(
                "{servers} does not answer ({error}): check spec.bootstrapServers, that the brokers run, and sasl and tls"
            );
            (Say::no(reasons::READY, reasons::CLUSTER_UNREACHABLE, message), None)
        }
    }
}

/// Writes the status; answers whether a condition is another one than before.
async fn status(cluster: &KafkaCluster, say: Say, brokers: Option<i32>, context: &Context) -> Result<bool, Error> {
    let before = cluster.status.clone().unwrap_or_default();
    let (conditions, changed) = conditions::merge(&before.conditions, vec![say], cluster.metadata.generation);
    let brokers = brokers.or(before.brokers);
    let status = KafkaClusterStatus { conditions, brokers, observed_generation: cluster.metadata.generation };
    if status == before {
        return Ok(false);
    }
    let (namespace, name) = (cluster.metadata.namespace.as_deref(), cluster.metadata.name.as_deref());
    let api: Api<KafkaCluster> = Api::namespaced(context.client.clone(), namespace.unwrap_or_default());
    let patch = json!({"apiVersion": "tidemill.dev/v1alpha1", "kind": "KafkaCluster", "status": status});
    api.patch_status(name.unwrap_or_default(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(Error::Status)?;
    let news = !changed.is_empty();
    for condition in changed {
        context.event(cluster, condition.status != "True", &condition.reason, condition.message).await;
    }
    Ok(news)
}
