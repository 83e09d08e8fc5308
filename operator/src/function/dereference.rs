//! What a Function names, looked up. The only step that looks anywhere, and only at what the
//! watches have told.

use crate::{
    cluster,
    clusters::{Cluster, Unusable},
    context::Context,
};
use std::{collections::BTreeSet, sync::Arc};
use tidemill_api::{Function, KafkaCluster, plan::KafkaPlan};
use tidemill_kafka::Group;

/// A cluster as it was found.
pub type Found = Result<Arc<Cluster>, Unusable>;

/// What a Function names.
pub struct Dereferenced {
    /// The trigger's cluster; under a schedule the output's.
    pub trigger: (String, Option<Found>),
    /// The output's cluster, where it is another one.
    pub output: Option<(String, Option<Found>)>,
    /// For each cluster of another namespace, whether it lets this one in.
    pub allowed: Vec<(String, bool)>,
    /// Secrets that are named and not there.
    pub missing_secrets: Vec<String>,
    /// Versions of the secrets that are there, to replace pods when one changes.
    pub secret_versions: Vec<(String, String)>,
}

/// Looks up what the function names.
#[must_use]
pub fn dereference(function: &Function, context: &Context) -> Dereferenced {
    let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
    let names = clusters_of(function);
    let mut found = names.iter().map(|name| (name.clone(), context.clusters.get(name)));
    let trigger = found.next().unwrap_or_default();
    let output = found.next();
    let allowed = names
        .iter()
        .filter_map(|name| {
            let (other, name_only) = name.split_once('/')?;
            (other != namespace).then(|| (name.clone(), lets_in(context, other, name_only, namespace)))
        })
        .collect();
    let (mut missing_secrets, mut secret_versions) = (Vec::new(), Vec::new());
    let mut secrets: BTreeSet<String> = secrets_of(function).into_iter().map(str::to_owned).collect();
    // Pods read a cluster's secrets in their own namespace, whoever's cluster it is.
    let used = [Some(&trigger), output.as_ref()];
    for cluster in used.into_iter().flatten().filter_map(|(_, found)| found.as_ref()?.as_ref().ok()) {
        secrets.extend(cluster::secrets_of(&cluster.spec).into_iter().map(|reference| reference.name));
    }
    for secret in secrets {
        match context.stores.secret_version(namespace, &secret) {
            Some(version) => secret_versions.push((secret, version)),
            None => missing_secrets.push(secret),
        }
    }
    Dereferenced { trigger, output, allowed, missing_secrets, secret_versions }
}

fn lets_in(context: &Context, namespace: &str, name: &str, guest: &str) -> bool {
    let is_it = |cluster: &KafkaCluster| {
        cluster.metadata.namespace.as_deref() == Some(namespace) && cluster.metadata.name.as_deref() == Some(name)
    };
    let found = context.stores.own.clusters.find(is_it);
    found.is_some_and(|cluster| cluster.spec.allowed_namespaces.iter().any(|allowed| allowed == guest))
}

/// The clusters that a function names, as `namespace/name`: the trigger's, then the output's
/// where it is another one.
#[must_use]
pub fn clusters_of(function: &Function) -> Vec<String> {
    let namespace = function.metadata.namespace.as_deref().unwrap_or_default();
    let trigger = function.spec.trigger.kafka.as_ref().map(|kafka| kafka.cluster.as_str());
    let output = function.spec.output.as_ref().map(|output| output.cluster.as_deref().or(trigger).unwrap_or("main"));
    // A schedule without output has dead letters all the same.
    let fallback = (trigger.is_none() && output.is_none()).then_some("main");
    let mut names = Vec::new();
    for name in trigger.into_iter().chain(output).chain(fallback) {
        let name = if name.contains('/') { name.to_owned() } else { format!("{namespace}/{name}") };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The secrets that a function's environment needs; optional ones are not needed.
#[must_use]
pub fn secrets_of(function: &Function) -> BTreeSet<&str> {
    let single = function.spec.env.iter().filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
    let single = single.filter(|secret| secret.optional != Some(true)).map(|secret| secret.name.as_str());
    let whole = function.spec.env_from.iter().filter_map(|source| source.secret_ref.as_ref());
    let whole = whole.filter(|secret| secret.optional != Some(true)).map(|secret| secret.name.as_str());
    single.chain(whole).collect()
}

/// The consumer group of a trigger, as it is looked at.
#[must_use]
pub fn group(kafka: &KafkaPlan) -> Group {
    Group { id: kafka.group.clone(), topics: kafka.topics.clone() }
}
