//! From a Function and what it names to what can be built, or to the reason why not. No I/O.

use super::dereference::{Dereferenced, Found};
use crate::{
    clusters::{Cluster, Unusable},
    load::Hold,
};
use std::sync::Arc;
use tidemill_api::{Function, annotations, plan::Plan, reasons, rules};
use tidemill_runner::config;

/// A function that can be carried out.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The function with every default resolved.
    pub plan: Arc<Plan>,
    /// The cluster that its runner connects to.
    pub trigger_cluster: Arc<Cluster>,
    /// The cluster of its outputs, where it is another one.
    pub output_cluster: Option<Arc<Cluster>>,
    /// What outranks its scaling.
    pub hold: Option<Hold>,
    /// Changes when a secret of its changes.
    pub secrets_version: String,
}

impl Validated {
    /// The topics that the function needs in that cluster.
    #[must_use]
    pub fn topics_in(&self, cluster: &Cluster) -> Vec<String> {
        let inputs = self.plan.kafka().into_iter().flat_map(|kafka| kafka.topics.iter().cloned());
        let inputs = inputs.filter(|_| cluster.key == self.trigger_cluster.key);
        let target = self.output_cluster.as_ref().unwrap_or(&self.trigger_cluster);
        let output = self.plan.output.iter().map(|output| output.topic.clone());
        inputs.chain(output.filter(|_| cluster.key == target.key)).collect()
    }
}

/// Why a function is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From `reasons`.
    pub reason: &'static str,
    /// The field and the remedy.
    pub message: String,
}

/// Checks all that the API server could not.
///
/// # Errors
/// The first thing that is in the way.
pub fn validate(function: &Function, found: Dereferenced) -> Result<Validated, Refusal> {
    let refuse = |reason, message: String| Err(Refusal { reason, message });
    if let Some(broken) = rules::problems(function).into_iter().next() {
        return refuse(reasons::INVALID_SPEC, format!("{}: {}", broken.field(), broken.message));
    }
    let hold = hold(function);
    let plan = Plan::of(function);
    if let Err(unsupported) = config::supported(&plan) {
        return refuse(reasons::UNSUPPORTED, unsupported.to_string());
    }
    if let Some((name, _)) = found.allowed.iter().find(|(_, allowed)| !allowed) {
        let namespace = &plan.namespace;
        let message = format!(
            "KafkaCluster {name} is not there or does not let in this namespace: add `{namespace}` to its spec.allowedNamespaces"
        );
        return refuse(reasons::CLUSTER_NOT_FOUND, message);
    }
    let trigger_cluster = usable(found.trigger)?;
    let output_cluster = found.output.map(usable).transpose()?;
    if let Some(secret) = found.missing_secrets.first() {
        let message = format!("Secret {}/{secret} is not there: create it, or mark it optional", plan.namespace);
        return refuse(reasons::SECRET_NOT_FOUND, message);
    }
    let versions = found.secret_versions.iter().map(|(name, version)| format!("{name}={version}"));
    let secrets_version = versions.collect::<Vec<_>>().join(",");
    Ok(Validated { plan: Arc::new(plan), trigger_cluster, output_cluster, hold, secrets_version })
}

fn usable((name, found): (String, Option<Found>)) -> Result<Arc<Cluster>, Refusal> {
    match found {
        Some(Ok(cluster)) => Ok(cluster),
        Some(Err(Unusable { reason, message })) => {
            Err(Refusal { reason, message: format!("KafkaCluster {name}: {message}") })
        }
        None => {
            let message = format!("KafkaCluster {name} is not there: create it, or name another one");
            Err(Refusal { reason: reasons::CLUSTER_NOT_FOUND, message })
        }
    }
}

/// What outranks the autoscaler; that annotations are as they must be was checked before.
fn hold(function: &Function) -> Option<Hold> {
    let annotation = |name: &str| function.metadata.annotations.as_ref().and_then(|all| all.get(name));
    let paused_at = annotation(annotations::PAUSED_REPLICAS).and_then(|text| text.parse().ok()).map(Hold::PausedAt);
    let paused = || annotation(annotations::PAUSED).filter(|text| *text == "true").map(|_| Hold::Paused);
    let by_hand = || function.spec.replicas.map(|count| Hold::ByHand(u32::try_from(count).unwrap_or_default()));
    paused_at.or_else(paused).or_else(by_hand)
}
