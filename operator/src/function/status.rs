//! What a Function's status says: why it is accepted or not, ready or not, and why so many.

use super::{
    Error,
    build::selector,
    validate::{Refusal, Validated},
};
use crate::{
    clusters::Cluster,
    conditions::{self, Say},
    context::{Context, key_of},
    load::Load,
    observer::Health,
};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use std::sync::Arc;
use tidemill_api::{Function, FunctionStatus, plan::TriggerPlan, reasons};

/// Who writes the status.
const MANAGER: &str = "tidemill-operator/function";

/// The status of a function that can't be carried out; its numbers stay as they were.
///
/// # Errors
/// When the API server does not answer.
pub async fn refused(function: &Function, refusal: Refusal, context: &Context) -> Result<(), Error> {
    let Refusal { reason, message } = refusal;
    let before = function.status.clone().unwrap_or_default();
    let running = before.replicas.unwrap_or_default() > 0;
    let say = vec![
        Say::no(reasons::ACCEPTED, reason, message.clone()),
        Say::no(reasons::READY, reason, message.clone()),
        active(running),
    ];
    write(function, FunctionStatus { reason: Some(message), ..before }, say, context).await
}

/// The status of a function that is carried out.
///
/// # Errors
/// When the API server does not answer.
pub async fn accepted(
    function: &Function,
    validated: &Validated,
    load: &Load,
    deployment: Option<&Deployment>,
    refused: Option<String>,
    context: &Context,
) -> Result<(), Error> {
    let plan = &validated.plan;
    let pods = context.stores.pods_of(&plan.namespace, &plan.name);
    let names: Vec<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    context.loads.keep_reports_of(&key_of(function), &names);
    let running = deployment.and_then(|deployment| deployment.status.as_ref()?.replicas).unwrap_or_default();
    let accepted = match deployment {
        Some(_) => Say::yes(reasons::ACCEPTED, reasons::VALID, "the manifest can be carried out"),
        None => Say::no(
            reasons::ACCEPTED,
            reasons::NAME_TAKEN,
            format!("a Deployment named {} belongs to someone else: rename it or the function", plan.name),
        ),
    };
    let ready = if let Some(refused) = refused {
        let message = format!("{refused}: let the operator's user do it, or ask the cluster's owner");
        Say::no(reasons::READY, reasons::REFUSED_BY_KAFKA, message)
    } else if accepted.status == Some(true) {
        let ready = ready(validated, load, &pods);
        // No pods at all: the ReplicaSet knows why.
        no_pods(deployment).filter(|_| ready.reason == reasons::STARTING && pods.is_empty()).unwrap_or(ready)
    } else {
        Say { kind: reasons::READY, ..accepted.clone() }
    };
    // Why it is not ready is more to the point than why it has so many replicas.
    let reason = if ready.status == Some(false) && ready.reason != reasons::STARTING {
        ready.message.clone()
    } else {
        load.reason.clone()
    };
    let say = vec![accepted, ready, active(load.replicas > 0)];
    let labels = selector(&plan.name);
    let labels = labels.as_object().into_iter().flatten();
    let selector = labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
    let before = function.status.clone().unwrap_or_default();
    let status = FunctionStatus {
        replicas: Some(running),
        desired_replicas: Some(i32::try_from(load.replicas).unwrap_or(i32::MAX)),
        lag: load.lag,
        arrival_rate: matches!(plan.trigger, TriggerPlan::Kafka(_)).then_some(load.rate),
        capacity_per_replica: load.capacity,
        reason: Some(reason),
        selector: Some(selector.collect::<Vec<_>>().join(",")),
        ..before
    };
    write(function, status, say, context).await
}

fn active(active: bool) -> Say {
    if active {
        Say::yes(reasons::ACTIVE, reasons::RUNNING, "it has replicas")
    } else {
        Say::no(reasons::ACTIVE, reasons::IDLE, "it has no replicas")
    }
}

fn ready(validated: &Validated, load: &Load, pods: &[Arc<Pod>]) -> Say {
    let plan = &validated.plan;
    let cluster = &validated.trigger_cluster;
    if cluster.observer.health() == Health::Unasked {
        let message = format!("KafkaCluster {} is being asked", cluster.key);
        return Say { kind: reasons::READY, status: None, reason: reasons::CONNECTING, message };
    }
    if let Health::Silent(error) = cluster.observer.health() {
        let message = format!("KafkaCluster {} does not answer: {error}; replicas are held", cluster.key);
        return Say::no(reasons::READY, reasons::CLUSTER_UNREACHABLE, message);
    }
    let lacks = |at: &Cluster, topic: &String| {
        matches!(at.observer.health(), Health::Answers(_)) && at.observer.partitions(topic).is_none()
    };
    let mut inputs = plan.kafka().into_iter().flat_map(|kafka| &kafka.topics);
    if let Some(topic) = inputs.find(|topic| lacks(cluster, topic)) {
        let message = missing_topic(topic, "trigger.kafka.topics", &cluster.key);
        return Say::no(reasons::READY, reasons::TOPIC_NOT_FOUND, message);
    }
    let target = validated.output_cluster.as_ref().unwrap_or(cluster);
    if let Some(output) = plan.output.as_ref().filter(|output| lacks(target, &output.topic)) {
        let message = missing_topic(&output.topic, "output.topic", &target.key);
        return Say::no(reasons::READY, reasons::TOPIC_NOT_FOUND, message);
    }
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    if ready > 0 {
        return Say::yes(
            reasons::READY,
            reasons::RUNNING,
            format!("{ready} of {} replicas take records", load.replicas),
        );
    }
    if load.replicas == 0 {
        let waits = if plan.kafka().is_some() { "records" } else { "its schedule" };
        return Say::yes(reasons::READY, reasons::IDLE, format!("at zero; it starts with {waits}"));
    }
    // What is about to end ends with an exit code that says nothing of the function.
    let mut staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    staying.find_map(|pod| trouble(pod)).unwrap_or_else(|| {
        Say::no(reasons::READY, reasons::STARTING, format!("0 of {} replicas take records yet", load.replicas))
    })
}

fn missing_topic(topic: &str, field: &str, cluster: &str) -> String {
    format!("topic {topic} ({field}) is not in KafkaCluster {cluster}: create a Topic, or name another one")
}

/// Why a Deployment makes no pods: a quota, a policy, an account that is not there.
fn no_pods(deployment: Option<&Deployment>) -> Option<Say> {
    let conditions = deployment?.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions.iter().find(|one| one.type_ == "ReplicaFailure" && one.status == "True")?;
    Some(Say::no(reasons::READY, reasons::UNSCHEDULABLE, failure.message.clone().unwrap_or_default()))
}

/// Whether the pod takes records and is not about to end.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// What keeps a pod from being ready, in the words of the kubelet or of the function.
fn trouble(pod: &Pod) -> Option<Say> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for container in containers {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let ended = [&container.state, &container.last_state];
        let ended = ended.into_iter().find_map(|state| state.as_ref()?.terminated.as_ref());
        let name = &container.name;
        match waiting.and_then(|waiting| waiting.reason.as_deref()) {
            Some(reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull")) => {
                let detail = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
                let message = format!("image {} of container {name}: {reason}: {detail}", container.image);
                return Some(Say::no(reasons::READY, reasons::IMAGE_UNAVAILABLE, message));
            }
            Some(reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError")) => {
                let detail = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
                return Some(Say::no(
                    reasons::READY,
                    reasons::INIT_FAILED,
                    format!("container {name}: {reason}: {detail}"),
                ));
            }
            _ => {}
        }
        if let Some(ended) = ended.filter(|ended| ended.exit_code != 0) {
            let last = ended.message.as_deref().unwrap_or_default().trim();
            let last: String = last.chars().rev().take(400).collect::<Vec<_>>().into_iter().rev().collect();
            let message = format!(
                "container {name} ended with exit code {} ({} restarts): {last}",
                ended.exit_code, container.restart_count
            );
            return Some(Say::no(reasons::READY, reasons::INIT_FAILED, message));
        }
    }
    let unschedulable = |condition: &&k8s_openapi::api::core::v1::PodCondition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    };
    let condition = status.conditions.iter().flatten().find(unschedulable)?;
    Some(Say::no(reasons::READY, reasons::UNSCHEDULABLE, condition.message.clone().unwrap_or_default()))
}

async fn write(function: &Function, status: FunctionStatus, say: Vec<Say>, context: &Context) -> Result<(), Error> {
    let before = function.status.clone().unwrap_or_default();
    let generation = function.metadata.generation;
    let (conditions, changed) = conditions::merge(&before.conditions, say, generation);
    let status = FunctionStatus { conditions, observed_generation: generation, ..status };
    if status == before {
        return Ok(());
    }
    patch(function, &status, context).await?;
    for Condition { type_, status, reason, message, .. } in changed {
        // That replicas come and go is told by the event of the scaling; what passes is not told.
        let passing = [reasons::STARTING, reasons::CONNECTING].contains(&reason.as_str());
        if type_ != reasons::ACTIVE && !passing {
            context.event(function, status != "True", &reason, message).await;
        }
    }
    Ok(())
}

/// Writes the whole status.
///
/// # Errors
/// When the API server does not answer.
pub async fn patch(function: &Function, status: &FunctionStatus, context: &Context) -> Result<Function, Error> {
    let (namespace, name) = (function.metadata.namespace.as_deref(), function.metadata.name.as_deref());
    let api: Api<Function> = Api::namespaced(context.client.clone(), namespace.unwrap_or_default());
    let patch = json!({"apiVersion": "tidemill.dev/v1alpha1", "kind": "Function", "status": status});
    metrics::counter!("tidemill_operator_applied_total", "kind" => "FunctionStatus").increment(1);
    api.patch_status(name.unwrap_or_default(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch))
        .await
        .map_err(Error::Status)
}
