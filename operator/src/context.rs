//! What every reconcile may use.

use crate::{clusters::Clusters, function::apply::Applied, load::Loads, schedule::Firings, stores::Stores};
use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::{
    Client, Resource,
    runtime::{
        events::{Event, EventType, Recorder},
        reflector::ObjectRef,
    },
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};
use tidemill_api::{Function, KafkaCluster, Topic};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

/// What every reconcile may use.
pub struct Context {
    /// The API server, for writing and for reading secrets.
    pub client: Client,
    /// Where Events go.
    pub recorder: Recorder,
    /// How pods are built.
    pub settings: Settings,
    /// What the watches have told.
    pub stores: Stores,
    /// The Kafka clusters that can be reached.
    pub clusters: Clusters,
    /// The load of each function and what was decided on it.
    pub loads: Arc<Loads>,
    /// What was last applied.
    pub applied: Applied,
    /// Firings of schedules that are under way.
    pub firings: Firings,
    /// Who is reconciled again.
    pub triggers: Triggers,
    /// For calls to runners.
    pub http: reqwest::Client,
}

/// How pods are built, beyond what a Function says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The runner's image.
    pub runner_image: String,
    /// When images are pulled.
    pub pull_policy: String,
    /// Secrets to pull the runner's image with.
    pub pull_secrets: Vec<LocalObjectReference>,
    /// Least CPU and memory of a runner.
    pub runner_requests: (String, String),
    /// The most memory of a runner.
    pub runner_memory: String,
    /// Where runners ask when to join; empty where nobody is to be asked.
    pub join_url: String,
}

/// Asks for resources to be reconciled again.
#[derive(Clone)]
pub struct Triggers {
    /// Functions.
    pub functions: UnboundedSender<ObjectRef<Function>>,
    /// Clusters.
    pub clusters: UnboundedSender<ObjectRef<KafkaCluster>>,
    /// Topics.
    pub topics: UnboundedSender<ObjectRef<Topic>>,
}

impl Triggers {
    /// A function by its `namespace/name`.
    pub fn function(&self, key: &str) {
        if let Some(reference) = reference(key) {
            // Nobody listens any more when the operator is ending.
            drop(self.functions.send(reference));
        }
    }

    /// A cluster by its `namespace/name`.
    pub fn cluster(&self, key: &str) {
        if let Some(reference) = reference(key) {
            drop(self.clusters.send(reference));
        }
    }

    /// A topic by its `namespace/name`.
    pub fn topic(&self, key: &str) {
        if let Some(reference) = reference(key) {
            drop(self.topics.send(reference));
        }
    }
}

fn reference<K: Resource<DynamicType = ()>>(key: &str) -> Option<ObjectRef<K>> {
    let (namespace, name) = key.split_once('/')?;
    Some(ObjectRef::new(name).within(namespace))
}

/// `namespace/name`.
#[must_use]
pub fn key_of<K: Resource>(resource: &K) -> String {
    let meta = resource.meta();
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

impl Context {
    /// Publishes an Event on a resource; one that can't be published is only logged.
    pub async fn event<K: Resource<DynamicType = ()>>(&self, on: &K, warning: bool, reason: &str, note: String) {
        let type_ = if warning { EventType::Warning } else { EventType::Normal };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // Events of the same action are counted as one: another text is another event.
            action: format!("Reconcile-{:08x}", digest(&note)),
            note: Some(note.chars().take(1000).collect()),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &on.object_ref(&())).await {
            warn!(%error, reason, "an Event could not be published");
        }
    }
}

fn digest(text: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish() as u32
}
