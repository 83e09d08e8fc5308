//! What the watches tell: Deployments, Pods and secrets, as they are now.
//!
//! Only what is needed is kept of each object, so that many of them cost little memory.

use crate::{
    cluster,
    context::{Triggers, key_of},
    function::dereference,
};
use futures::{Stream, StreamExt, TryStreamExt, future};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, PodTemplateSpec, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        watcher::{self, watcher},
    },
};
use std::{fmt::Debug, sync::Arc};
use tidemill_api::{Function, KafkaCluster, Topic};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The label of everything that belongs to a function.
pub const FUNCTION_LABEL: &str = "tidemill.dev/function";
/// The label of everything that the operator makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by=tidemill";

/// What the watches have told.
#[derive(Clone)]
pub struct Stores {
    /// The Deployments of functions.
    pub deployments: Store<Deployment>,
    /// The Pods of functions.
    pub pods: Store<Pod>,
    /// Names and versions of secrets, without their data.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// The resources that are reconciled.
    pub own: Own,
}

/// All resources of our kinds.
#[derive(Clone)]
pub struct Own {
    /// Functions.
    pub functions: Store<Function>,
    /// Kafka clusters.
    pub clusters: Store<KafkaCluster>,
    /// Topics.
    pub topics: Store<Topic>,
}

impl Stores {
    /// Starts the watches of what functions own, until `stop`.
    #[must_use]
    pub fn watch(client: &Client, own: Own, triggers: &Triggers, stop: &CancellationToken) -> Self {
        let ours = watcher::Config::default().labels(MANAGED_BY);
        let (deployments, writer) = store();
        let changes = watcher(Api::<Deployment>::all(client.clone()), ours.clone())
            .default_backoff()
            .modify(|deployment| {
                deployment.managed_fields_mut().clear();
                deployment.annotations_mut().clear();
                // Whether its pods are as they should be, the digest of what was applied tells.
                if let Some(spec) = &mut deployment.spec {
                    spec.template = PodTemplateSpec::default();
                }
            })
            .reflect(writer)
            .touched_objects();
        spawn("deployments", changes, triggers.clone(), stop.clone(), |deployment, triggers| {
            if let Some(owner) = deployment.owner_references().iter().find(|owner| owner.kind == "Function") {
                triggers.function(&format!("{}/{}", deployment.namespace().unwrap_or_default(), owner.name));
            }
        });
        let (pods, writer) = store();
        let changes = watcher(Api::<Pod>::all(client.clone()), ours)
            .default_backoff()
            .modify(|pod| {
                pod.managed_fields_mut().clear();
                pod.annotations_mut().clear();
                // What is asked of a pod is its status alone.
                pod.spec = None;
            })
            .reflect(writer)
            .touched_objects();
        spawn("pods", changes, triggers.clone(), stop.clone(), |pod, triggers| {
            if let Some(function) = pod.labels().get(FUNCTION_LABEL) {
                triggers.function(&format!("{}/{function}", pod.namespace().unwrap_or_default()));
            }
        });
        let (secrets, writer) = store();
        let changes = watcher(Api::<PartialObjectMeta<Secret>>::all(client.clone()), watcher::Config::default())
            .default_backoff()
            .modify(|secret| {
                secret.managed_fields_mut().clear();
                secret.annotations_mut().clear();
                secret.labels_mut().clear();
            })
            .reflect(writer)
            .touched_objects();
        let using = own.clone();
        spawn("secrets", changes, triggers.clone(), stop.clone(), move |secret, triggers| {
            let (namespace, name) = (secret.namespace(), secret.name_any());
            for cluster in using.clusters.state().into_iter().filter(|cluster| cluster.namespace() == namespace) {
                if cluster::secrets_of(&cluster.spec).iter().any(|reference| reference.name == name) {
                    triggers.cluster(&key_of(&*cluster));
                }
            }
            for function in using.functions.state().into_iter().filter(|function| function.namespace() == namespace) {
                let of_clusters = || {
                    let names = dereference::clusters_of(&function);
                    let used = using.clusters.state().into_iter().filter(|cluster| names.contains(&key_of(&**cluster)));
                    used.flat_map(|cluster| cluster::secrets_of(&cluster.spec)).any(|reference| reference.name == name)
                };
                if dereference::secrets_of(&function).contains(name.as_str()) || of_clusters() {
                    triggers.function(&key_of(&*function));
                }
            }
        });
        Self { deployments, pods, secrets, own }
    }

    /// Returns once each watch has told all there is.
    pub async fn ready(&self) {
        let (deployments, pods, secrets) = future::join3(
            self.deployments.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.secrets.wait_until_ready(),
        )
        .await;
        for result in [deployments, pods, secrets] {
            if let Err(error) = result {
                warn!(%error, "a watch has ended");
            }
        }
    }

    /// The pods of a function.
    #[must_use]
    pub fn pods_of(&self, namespace: &str, function: &str) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod: &Pod| {
            pod.metadata.namespace.as_deref() == Some(namespace)
                && pod.labels().get(FUNCTION_LABEL).is_some_and(|name| name == function)
        })
    }

    /// The Deployment of that name.
    #[must_use]
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<Deployment>> {
        self.deployments.get(&ObjectRef::new(name).within(namespace))
    }

    /// The version of a secret; `None` where it is not there.
    #[must_use]
    pub fn secret_version(&self, namespace: &str, name: &str) -> Option<String> {
        self.secrets.get(&ObjectRef::new(name).within(namespace)).and_then(|secret| secret.resource_version())
    }
}

fn spawn<K: Debug + Send + 'static>(
    what: &'static str,
    changes: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
    triggers: Triggers,
    stop: CancellationToken,
    act: impl Fn(K, &Triggers) + Send + Sync + 'static,
) {
    let each = changes
        .inspect_err(move |error| warn!(%error, what, "watch interrupted"))
        .filter_map(|change| future::ready(change.ok()))
        .take_until(stop.cancelled_owned());
    tokio::spawn(async move {
        let mut each = std::pin::pin!(each);
        while let Some(object) = each.next().await {
            act(object, &triggers);
        }
    });
}
