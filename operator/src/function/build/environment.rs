//! The environment of the runner and of the function: each name once, since a list with a name
//! twice can't be applied.

use super::{ADMIN_PORT, RUNTIME_API};
use crate::{context::Settings, function::validate::Validated};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector};
use tidemill_api::{
    Function, KafkaClusterSpec, SecretKeyRef,
    plan::{FailurePlan, Plan},
};
use tidemill_runner::config::prefixes;

/// How many invocations AWS's clients ask for at once; where it is not set, one.
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// Whether the runner has the function's variables too: where it starts the function, or keeps what
/// failed in S3 with the function's credentials.
pub fn is_shared(function: &Function, plan: &Plan) -> bool {
    function.spec.image.is_none() || matches!(plan.on_failure, FailurePlan::S3(_))
}

/// The runner's: its configuration, the secrets of its clusters, and the function's where they are
/// shared.
pub fn runner(function: &Function, validated: &Validated, settings: &Settings, config: String) -> Vec<EnvVar> {
    let mut all = if is_shared(function, &validated.plan) { function.spec.env.clone() } else { Vec::new() };
    set(&mut all, plain("TIDEMILL_CONFIG_JSON", config));
    set(&mut all, plain("TIDEMILL_ADMIN_ADDR", format!("0.0.0.0:{ADMIN_PORT}")));
    if !settings.join_url.is_empty() {
        let name = validated.plan.full_name();
        set(&mut all, from_field("TIDEMILL_POD", "metadata.name"));
        set(&mut all, plain("TIDEMILL_JOIN_URL", format!("{}?function={name}&pod=$(TIDEMILL_POD)", settings.join_url)));
    }
    let clusters =
        [(Some(&validated.trigger_cluster), prefixes::TRIGGER), (validated.output_cluster.as_ref(), prefixes::OUTPUT)];
    for (cluster, prefix) in clusters.into_iter().filter_map(|(cluster, prefix)| Some((cluster?, prefix))) {
        for (name, secret) in secrets(&cluster.spec) {
            set(&mut all, from_secret(&format!("{prefix}{name}"), secret));
        }
    }
    all
}

/// The function's: what Lambda sets, over what the manifest says, over defaults.
pub fn function(function: &Function, plan: &Plan) -> Vec<EnvVar> {
    let mut all = Vec::new();
    if function.spec.env_from.is_empty() {
        // What `envFrom` brings would be hidden by a variable of the same name.
        all.extend(
            [("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1")].map(|(name, value)| plain(name, value)),
        );
        all.extend([("LANG", "C.UTF-8"), ("TZ", ":UTC")].map(|(name, value)| plain(name, value)));
    }
    for variable in &function.spec.env {
        set(&mut all, variable.clone());
    }
    let group = format!("/aws/lambda/{}", plan.name);
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", RUNTIME_API.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", plan.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", plan.memory_mib.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", group),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("_HANDLER", plan.handler.clone()),
    ] {
        set(&mut all, plain(name, value));
    }
    set(&mut all, from_field("AWS_LAMBDA_LOG_STREAM_NAME", "metadata.name"));
    if plan.concurrency > 1 {
        set(&mut all, plain(MAX_CONCURRENCY, plan.concurrency.to_string()));
    } else {
        // Several that ask for the one invocation would be refused.
        all.retain(|variable| variable.name != MAX_CONCURRENCY);
    }
    all
}

/// The secrets of a cluster by the variable's name after the prefix.
fn secrets(spec: &KafkaClusterSpec) -> Vec<(&'static str, &SecretKeyRef)> {
    let tls = spec.tls.as_ref();
    let all = [
        ("PASSWORD", spec.sasl.as_ref().map(|sasl| &sasl.password)),
        ("CA", tls.and_then(|tls| tls.ca.as_ref())),
        ("CERTIFICATE", tls.and_then(|tls| tls.certificate.as_ref())),
        ("KEY", tls.and_then(|tls| tls.key.as_ref())),
        ("REGISTRY_PASSWORD", spec.schema_registry.as_ref().and_then(|registry| registry.password.as_ref())),
    ];
    all.into_iter().filter_map(|(name, secret)| Some((name, secret?))).collect()
}

fn plain(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), ..EnvVar::default() }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn from_secret(name: &str, secret: &SecretKeyRef) -> EnvVar {
    let selector = SecretKeySelector { name: secret.name.clone(), key: secret.key.clone(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}

fn set(all: &mut Vec<EnvVar>, variable: EnvVar) {
    match all.iter_mut().find(|known| known.name == variable.name) {
        Some(known) => *known = variable,
        None => all.push(variable),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CONCURRENCY, function};
    use crate::function::build::RUNTIME_API;
    use serde_json::{Value, json};
    use tidemill_api::{Function, plan::Plan};

    const API: &str = "AWS_LAMBDA_RUNTIME_API";

    /// What the function of that concurrency and environment gets under a name: at most once.
    fn check(concurrency: u32, env: &Value, name: &str, expected: Option<&str>) {
        let spec = json!({
            "image": "i", "concurrency": concurrency, "env": env,
            "trigger": {"kafka": {"cluster": "main", "topics": ["ticks"]}},
        });
        let resource = Function::new("f", serde_json::from_value(spec).expect("it is a function's"));
        let all = function(&resource, &Plan::of(&resource));
        let found: Vec<_> =
            all.iter().filter(|variable| variable.name == name).map(|one| one.value.as_deref()).collect();
        let expected: Vec<_> = expected.into_iter().map(Some).collect();
        assert_eq!(found, expected, "{name} at concurrency {concurrency} with {env}");
    }

    #[test]
    fn what_lambda_sets_is_not_the_manifests_to_set() {
        let nothing = json!([]);
        let own = json!([{"name": MAX_CONCURRENCY, "value": "8"}, {"name": API, "value": "elsewhere:1"}, {"name": "A", "value": "1"}]);
        let secret = json!([{"name": MAX_CONCURRENCY, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
        for env in [&nothing, &own, &secret] {
            check(1, env, MAX_CONCURRENCY, None);
            check(2, env, MAX_CONCURRENCY, Some("2"));
            check(100, env, MAX_CONCURRENCY, Some("100"));
            check(1, env, API, Some(RUNTIME_API));
            check(2, env, API, Some(RUNTIME_API));
        }
        check(1, &own, "A", Some("1"));
        check(1, &own, "TZ", Some(":UTC"));
        check(1, &json!([{"name": "TZ", "value": ":Asia/Seoul"}]), "TZ", Some(":Asia/Seoul"));
    }
}
