//! From a validated function to its Deployment. No I/O; what comes in decides what comes out.

mod environment;
mod pod;

use super::validate::Validated;
use crate::{context::Settings, stores::FUNCTION_LABEL};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Resource;
use serde_json::{Value, json};
use tidemill_api::Function;

/// The port of `/live`, `/ready`, `/metrics`, `/report`, `/drain` and `/schedule` in each pod.
pub const ADMIN_PORT: u16 = 9464;
/// Where the Runtime API is served in a pod.
pub const RUNTIME_API: &str = "127.0.0.1:9001";

/// The labels that select a function's pods.
#[must_use]
pub fn selector(function: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": "tidemill", FUNCTION_LABEL: function})
}

/// The Deployment of a function with so many replicas.
///
/// # Panics
/// Never: the text below is a Deployment.
#[must_use]
pub fn deployment(function: &Function, validated: &Validated, settings: &Settings, replicas: u32) -> Deployment {
    let plan = &validated.plan;
    let labels = selector(&plan.name);
    let template = pod::template(function, validated, settings);
    let value = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": plan.name,
            "namespace": plan.namespace,
            "labels": labels,
            "ownerReferences": function.controller_owner_ref(&()).map(|owner| vec![owner]),
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": labels},
            "template": template,
        },
    });
    serde_json::from_value(value).expect("what is built is a Deployment")
}
