//! The pod: a runner, and beside it the function's container where that is an image.
//!
//! Under `image` the runner is a container beside the function's, and the first of the two: the
//! kubelet starts the second when the first one's `postStart` has ended, and that waits for the
//! Runtime API. The function's container asks it to drain before it is stopped, so that what is in
//! flight ends while the function still lives. docs/adr/0001-runner-container.md says why it is not
//! a native sidecar. The containers share their processes, so that the runner
//! sees the function end and can kill it when it takes too long.

use super::{ADMIN_PORT, RUNTIME_API, environment, selector};
use crate::{context::Settings, function::validate::Validated};
use serde_json::{Value, json};
use tidemill_api::Function;
use tidemill_runner::{
    config::{Code, Config, OtherCluster},
    consumer,
};

/// Who runs in a pod: nobody in particular.
const USER: i64 = 65532;
/// Seconds that a pod has to end when its partitions are given back: commits, and the end of its processes.
const GRACE: u64 = 15;

/// The pods' template.
pub fn template(function: &Function, validated: &Validated, settings: &Settings) -> Value {
    let spec = &function.spec;
    let plan = &validated.plan;
    let grace = consumer::longest_drain(plan.timeout).as_secs() + GRACE;
    let mut runner = runner(function, validated, settings);
    let containers = match &spec.image {
        Some(image) => {
            runner["lifecycle"] =
                json!({"postStart": {"exec": {"command": ["/usr/bin/tidemill-runner", "await", RUNTIME_API]}}});
            json!([runner, image_container(function, validated, image)])
        }
        None => json!([runner]),
    };
    let mut pod = json!({
        "metadata": {
            "labels": selector(&plan.name),
            "annotations": {
                "tidemill.dev/cluster-version": cluster_version(validated),
                "tidemill.dev/secrets-version": validated.secrets_version,
                "kubectl.kubernetes.io/default-container": if spec.image.is_some() { "function" } else { "runner" },
            },
        },
        "spec": {
            "automountServiceAccountToken": spec.service_account_name.is_some(),
            "enableServiceLinks": false,
            "shareProcessNamespace": spec.image.is_some(),
            "terminationGracePeriodSeconds": grace,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": containers,
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "runner-tmp", "emptyDir": {}}],
            "serviceAccountName": spec.service_account_name,
            "imagePullSecrets": pull_secrets(function, settings),
            "nodeSelector": spec.node_selector,
            "tolerations": spec.tolerations,
            "affinity": spec.affinity,
            "topologySpreadConstraints": spec.topology_spread_constraints,
            "priorityClassName": spec.priority_class_name,
        },
    });
    prune(&mut pod);
    pod
}

fn runner(function: &Function, validated: &Validated, settings: &Settings) -> Value {
    let config = config(function, validated);
    let text = serde_json::to_string(&config).expect("a configuration is JSON");
    let package = function.spec.image.is_none();
    let mut resources = json!({
        "requests": {"cpu": settings.runner_requests.0, "memory": settings.runner_requests.1},
        "limits": {"memory": settings.runner_memory},
    });
    if package && let Some(own) = &function.spec.resources {
        resources = json!(own);
    }
    json!({
        "name": "runner",
        "image": settings.runner_image,
        "imagePullPolicy": settings.pull_policy,
        "env": environment::runner(function, validated, settings, text),
        "envFrom": if environment::is_shared(function, &validated.plan) { json!(function.spec.env_from) } else { Value::Null },
        "ports": [{"name": "admin", "containerPort": ADMIN_PORT}],
        // The answer is held until it is ready: a second between two probes would be one too many.
        "readinessProbe": {
            "httpGet": {"path": "/ready?wait=1", "port": "admin"},
            "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 2,
        },
        "livenessProbe": {"httpGet": {"path": "/live", "port": "admin"}, "periodSeconds": 10, "failureThreshold": 6},
        // A package is fetched before anything is served: for that it has five minutes.
        "startupProbe": package.then(|| json!({"httpGet": {"path": "/live", "port": "admin"}, "periodSeconds": 1, "failureThreshold": 300})),
        "resources": resources,
        "securityContext": confined(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "runner-tmp", "mountPath": "/tmp"}],
    })
}

fn image_container(function: &Function, validated: &Validated, image: &str) -> Value {
    json!({
        "name": "function",
        "image": image,
        "env": environment::function(function, &validated.plan),
        "envFrom": function.spec.env_from,
        "resources": function.spec.resources,
        "lifecycle": {"preStop": {"httpGet": {"path": "/drain", "port": ADMIN_PORT}}},
        "securityContext": confined(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    })
}

/// As in Lambda, only /tmp can be written.
fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn config(function: &Function, validated: &Validated) -> Config {
    let package = function.spec.package.as_ref();
    let code = match package {
        Some(package) => Code::Package(package.s3.clone()),
        None => Code::Image { api: RUNTIME_API.parse().expect("it is an address") },
    };
    Config {
        plan: (*validated.plan).clone(),
        bootstrap_servers: validated.trigger_cluster.connection.bootstrap().to_owned(),
        access: validated.trigger_cluster.access.clone(),
        output: validated.output_cluster.as_ref().map(|cluster| OtherCluster {
            bootstrap_servers: cluster.connection.bootstrap().to_owned(),
            access: cluster.access.clone(),
        }),
        code,
        environment: Default::default(),
        inherit: package.is_some(),
    }
}

fn cluster_version(validated: &Validated) -> String {
    let output = validated.output_cluster.iter().map(|cluster| cluster.version.as_str());
    std::iter::once(validated.trigger_cluster.version.as_str()).chain(output).collect::<Vec<_>>().join("+")
}

fn pull_secrets(function: &Function, settings: &Settings) -> Value {
    let mut all = settings.pull_secrets.clone();
    all.extend(function.spec.image_pull_secrets.iter().filter(|own| !settings.pull_secrets.contains(own)).cloned());
    json!(all)
}

/// Empty fields are left out, so that they are nobody's.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|name, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || name == "emptyDir",
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
