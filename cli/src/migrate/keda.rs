//! KEDA's ScaledObject, as <https://keda.sh/docs/2.18/reference/scaledobject-spec/> and
//! <https://keda.sh/docs/2.18/scalers/apache-kafka/> tell its fields and defaults.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tidemill_api::Scaling;

/// What came of a ScaledObject.
#[derive(Debug)]
pub struct Turned {
    /// Its name.
    pub name: String,
    /// The resources that do what it did.
    pub manifests: Vec<Value>,
    /// What is to be filled in, and what has no equivalent.
    pub notes: Vec<String>,
}

/// Fields of a trigger's metadata that are turned.
const KNOWN: &[&str] = &[
    "bootstrapServers",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "activationLagThreshold",
    "offsetResetPolicy",
    "sasl",
    "tls",
];
/// Those that have no equivalent, and why none is needed.
const WITHOUT: [(&str, &str); 7] = [
    ("allowIdleConsumers", "more replicas than partitions are never asked for"),
    ("limitToPartitionsWithLag", "counts that lower nobody's share are skipped anyway"),
    ("ensureEvenDistributionOfPartitions", "counts that lower nobody's share are skipped anyway"),
    ("excludePersistentLag", "a partition that stands still has its records retried and dead-lettered"),
    ("scaleToZeroOnInvalidOffset", "where nothing is committed, lag is counted from `start`"),
    ("partitionLimitation", "all partitions of the topics are read"),
    ("version", "the protocol's version is negotiated"),
];
/// What is to be filled in.
const FILL_IN: &str = "FILL-IN";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    scale_target_ref: Target,
    polling_interval: Option<u64>,
    cooldown_period: Option<u64>,
    initial_cooldown_period: Option<u64>,
    idle_replica_count: Option<u32>,
    min_replica_count: Option<u32>,
    max_replica_count: Option<u32>,
    fallback: Option<Value>,
    advanced: Option<Value>,
    triggers: Vec<Trigger>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    name: String,
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Trigger {
    #[serde(rename = "type")]
    kind: String,
    metadata: BTreeMap<String, Value>,
    authentication_ref: Option<Value>,
}

/// Turns each ScaledObject, or says why it cannot; other documents are left alone.
pub fn turn(documents: &[Value]) -> Vec<Result<Turned>> {
    // One KafkaCluster for all that name the same brokers in the same namespace.
    let mut clusters: Vec<Value> = Vec::new();
    let lists = documents.iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.iter().collect::<Vec<_>>(),
        None => vec![document],
    });
    let objects = lists.filter(|document| document["kind"] == "ScaledObject");
    objects.map(|document| one(document, &mut clusters)).collect()
}

fn one(document: &Value, clusters: &mut Vec<Value>) -> Result<Turned> {
    let name = document["metadata"]["name"].as_str().context("metadata.name: a ScaledObject has a name")?.to_owned();
    let spec: Spec = serde_json::from_value(document["spec"].clone()).with_context(|| format!("{name}: spec"))?;
    let (kafka, others): (Vec<&Trigger>, Vec<&Trigger>) =
        spec.triggers.iter().partition(|trigger| trigger.kind == "kafka" || trigger.kind == "apache-kafka");
    let Some(first) = kafka.first() else {
        bail!("{name}: spec.triggers: none is of type kafka; only those can be turned");
    };
    let mut notes = vec![
        "spec.image: name the image of a Lambda function; a Deployment's own consumer loop does not run under Tidemill"
            .to_owned(),
    ];
    for other in others {
        notes.push(format!("trigger {}: has no equivalent; a Function has one trigger", other.kind));
    }
    let function = if spec.scale_target_ref.name.is_empty() { &name } else { &spec.scale_target_ref.name };
    if let Some(kind) = spec.scale_target_ref.kind.as_deref().filter(|kind| *kind != "Deployment") {
        notes.push(format!("scaleTargetRef.kind {kind}: a Function runs as a Deployment of its own"));
    }
    let trigger = trigger(&kafka, first, &mut notes)?;
    let scaling = scaling(&spec, first, &mut notes)?;
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(function));
    if let Some(namespace) = document["metadata"]["namespace"].as_str() {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let annotations: Map<String, Value> = [
        ("autoscaling.keda.sh/paused-replicas", "tidemill.dev/paused-replicas"),
        ("autoscaling.keda.sh/paused", "tidemill.dev/paused"),
    ]
    .into_iter()
    .filter_map(|(theirs, ours)| Some((ours.to_owned(), document["metadata"]["annotations"].get(theirs)?.clone())))
    .collect();
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    notes.push(format!(
        "delete the ScaledObject and its Deployment first: Function {function} makes a Deployment of its own and reads as the same group"
    ));
    let mut cluster = cluster(first, &metadata, &mut notes);
    let known = clusters.iter().find(|known| {
        known["spec"] == cluster["spec"] && known["metadata"]["namespace"] == cluster["metadata"]["namespace"]
    });
    let mut manifests = Vec::new();
    match known {
        Some(known) => cluster = known.clone(),
        None => {
            if !clusters.is_empty() {
                cluster["metadata"]["name"] = json!(format!("main-{}", clusters.len() + 1));
            }
            clusters.push(cluster.clone());
            manifests.push(cluster.clone());
        }
    }
    let mut trigger = trigger;
    trigger["cluster"] = cluster["metadata"]["name"].clone();
    let function = json!({
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "Function",
        "metadata": metadata,
        "spec": {"image": "registry.example/name:tag", "trigger": {"kafka": trigger}, "scaling": scaling},
    });
    manifests.push(function);
    Ok(Turned { name, manifests, notes })
}

fn trigger(all: &[&Trigger], first: &Trigger, notes: &mut Vec<String>) -> Result<Value> {
    let group = first.text("consumerGroup").context("triggers[0].metadata.consumerGroup: it must be set")?;
    let mut topics = Vec::new();
    for trigger in all {
        if trigger.text("consumerGroup").as_ref() != Some(&group) {
            notes.push(format!(
                "trigger on {}: another consumer group; make a Function of its own for it",
                trigger.text("topic").unwrap_or_default()
            ));
        } else if let Some(topic) = trigger.text("topic").filter(|topic| !topic.is_empty()) {
            topics.push(topic);
        } else {
            notes.push("metadata.topic is not set: KEDA counts all topics of the group; list them in spec.trigger.kafka.topics".to_owned());
        }
    }
    // KEDA's default; ours is earliest.
    let start = first.text("offsetResetPolicy").unwrap_or_else(|| "latest".to_owned());
    Ok(json!({"cluster": "main", "topics": topics, "group": group, "start": start}))
}

fn scaling(spec: &Spec, first: &Trigger, notes: &mut Vec<String>) -> Result<Value> {
    let number = |field: &str, default: u64| match first.text(field) {
        None => Ok(default),
        Some(text) => text.parse().with_context(|| format!("triggers[0].metadata.{field}: `{text}` is not a number")),
    };
    let scaling = json!({
        "min": spec.min_replica_count.unwrap_or(0),
        "max": spec.max_replica_count.unwrap_or(100),
        "lagPerReplica": number("lagThreshold", 10)?,
        "activationLag": number("activationLagThreshold", 0)?,
        "cooldown": format!("{}s", spec.cooldown_period.unwrap_or(300)),
    });
    let checked: Scaling = serde_json::from_value(scaling.clone()).context("the scaling section")?;
    if checked.min > checked.max {
        bail!("spec.minReplicaCount {} is above maxReplicaCount {}", checked.min, checked.max);
    }
    notes.push(format!(
        "lagThreshold {}: kept as lagPerReplica; `drainTarget` in its place scales by measured speed",
        checked.lag_per_replica.unwrap_or_default()
    ));
    notes.push("cooldown: here it is also how long fewer replicas must have been enough for each step down; KEDA's cooldownPeriod is for the last step, to zero".to_owned());
    let known = [KNOWN, &WITHOUT.map(|(field, _)| field)].concat();
    for field in first.metadata.keys().filter(|field| !known.contains(&field.as_str())) {
        notes.push(format!("metadata.{field}: not known, left out"));
    }
    if let Some(seconds) = spec.polling_interval {
        notes.push(format!(
            "pollingInterval {seconds}: not needed; the first record wakes, lag is looked at every 0.3 s"
        ));
    }
    if let Some(idle) = spec.idle_replica_count.filter(|idle| *idle != checked.min) {
        notes.push(format!("idleReplicaCount {idle}: no equivalent; at rest there are `min` replicas"));
    }
    if spec.initial_cooldown_period.is_some() {
        notes.push("initialCooldownPeriod: no equivalent; a new Function begins at `min`".to_owned());
    }
    if spec.fallback.is_some() {
        notes.push("fallback: no equivalent; while lag is unknown the count is held".to_owned());
    }
    if spec.advanced.is_some() {
        notes.push("advanced: no equivalent; there is no HPA, replicas go after a quiet `cooldown`".to_owned());
    }
    for (field, why) in WITHOUT {
        if first.metadata.contains_key(field) {
            notes.push(format!("metadata.{field}: no equivalent; {why}"));
        }
    }
    Ok(scaling)
}

fn cluster(first: &Trigger, metadata: &Map<String, Value>, notes: &mut Vec<String>) -> Value {
    let mut own = Map::new();
    own.insert("name".to_owned(), json!("main"));
    if let Some(namespace) = metadata.get("namespace") {
        own.insert("namespace".to_owned(), namespace.clone());
    }
    let servers = first.text("bootstrapServers").unwrap_or_default();
    if servers.is_empty() {
        notes.push("metadata.bootstrapServers is not set: fill in the KafkaCluster's".to_owned());
    }
    let servers: Vec<&str> = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).collect();
    let mut spec = json!({"bootstrapServers": servers});
    let is = |field: &str| first.text(field).filter(|value| !["none", "disable", ""].contains(&value.as_str()));
    let mechanism = match is("sasl").as_deref() {
        Some("scram_sha256") => Some("SCRAM-SHA-256"),
        Some("scram_sha512") => Some("SCRAM-SHA-512"),
        Some("plaintext") => Some("PLAIN"),
        Some(other) => {
            notes.push(format!("metadata.sasl {other}: not supported; PLAIN and SCRAM are"));
            None
        }
        None => None,
    };
    if let Some(mechanism) = mechanism {
        spec["sasl"] = json!({"mechanism": mechanism, "username": FILL_IN, "password": {"name": FILL_IN.to_lowercase(), "key": "password"}});
        notes.push("KafkaCluster spec.sasl: fill in the user and the Secret with its password".to_owned());
    }
    if is("tls").is_some() {
        spec["tls"] = json!({});
        notes.push(
            "KafkaCluster spec.tls: name Secrets for ca, certificate and key where the brokers need them".to_owned(),
        );
    } else if mechanism == Some("PLAIN") {
        notes.push("metadata.sasl plaintext without tls: the KafkaCluster is refused until it has spec.tls, or another mechanism".to_owned());
    }
    if first.authentication_ref.is_some() {
        notes.push("authenticationRef: what its TriggerAuthentication names goes into the KafkaCluster's spec.sasl and spec.tls".to_owned());
    }
    json!({"apiVersion": "tidemill.dev/v1alpha1", "kind": "KafkaCluster", "metadata": own, "spec": spec})
}

impl Trigger {
    /// A field of the metadata, which people write as text or as a number.
    fn text(&self, field: &str) -> Option<String> {
        match self.metadata.get(field)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::turn;
    use serde_json::{Value, json};

    fn object(metadata: Value, spec: Value) -> Value {
        let mut spec = spec;
        spec["scaleTargetRef"] = json!({"name": "orders"});
        spec["triggers"] = json!([{"type": "kafka", "metadata": metadata}]);
        json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "so", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn fields_and_defaults_are_kedas() {
        let metadata = json!({"bootstrapServers": "a:9092, b:9092", "consumerGroup": "g", "topic": "t"});
        let full = json!({"bootstrapServers": "a:9092", "consumerGroup": "g", "topic": "t", "lagThreshold": "50",
            "activationLagThreshold": 5, "offsetResetPolicy": "earliest"});
        let bare = json!({"min": 0, "max": 100, "lagPerReplica": 10, "activationLag": 0, "cooldown": "300s"});
        let set = json!({"min": 1, "max": 7, "lagPerReplica": 50, "activationLag": 5, "cooldown": "30s"});
        let counts = json!({"minReplicaCount": 1, "maxReplicaCount": 7, "cooldownPeriod": 30});
        for (metadata, spec, scaling, start) in [(metadata, json!({}), bare, "latest"), (full, counts, set, "earliest")]
        {
            let turned = turn(&[object(metadata, spec)]).remove(0).expect("it can be turned");
            let function = &turned.manifests[1];
            assert_eq!(function["spec"]["scaling"], scaling);
            assert_eq!(function["spec"]["trigger"]["kafka"]["start"], start);
            assert_eq!(function["metadata"], json!({"name": "orders", "namespace": "shop"}));
            assert_eq!(turned.manifests[0]["spec"]["bootstrapServers"][0], "a:9092");
            let text = serde_saphyr::to_string(function).expect("YAML");
            for document in tidemill_api::manifest::documents(&text).expect("it is read") {
                tidemill_api::check::resource(&document).expect("it is accepted");
            }
        }
    }

    #[test]
    fn what_has_no_equivalent_is_said() {
        let kafka = json!({"bootstrapServers": "a:9092", "consumerGroup": "g", "allowIdleConsumers": "true", "sasl": "plaintext"});
        let spec = json!({"pollingInterval": 5, "idleReplicaCount": 2, "fallback": {}, "advanced": {}});
        let mut object = object(kafka, spec);
        object["spec"]["triggers"].as_array_mut().expect("a list").push(json!({"type": "cron", "metadata": {}}));
        let notes = turn(&[object]).remove(0).expect("it can be turned").notes.join("\n");
        for word in [
            "image",
            "cron",
            "pollingInterval",
            "idleReplicaCount",
            "fallback",
            "advanced",
            "allowIdleConsumers",
            "sasl",
            "metadata.topic",
            "drainTarget",
        ] {
            assert!(notes.contains(word), "{word}: {notes}");
        }
    }

    #[test]
    fn what_cannot_be_turned_names_its_field() {
        let kafka = |metadata| object(metadata, json!({}));
        for (object, word) in [
            (kafka(json!({"topic": "t"})), "consumerGroup"),
            (kafka(json!({"consumerGroup": "g", "lagThreshold": "many"})), "lagThreshold"),
            (
                json!({"kind": "ScaledObject", "metadata": {"name": "so"}, "spec": {"triggers": [{"type": "cpu"}]}}),
                "kafka",
            ),
            (json!({"kind": "ScaledObject", "metadata": {}, "spec": {}}), "metadata.name"),
        ] {
            let error = format!("{:#}", turn(&[object]).remove(0).expect_err("it cannot be turned"));
            assert!(error.contains(word), "{word}: {error}");
        }
        assert!(turn(&[json!({"kind": "Deployment"})]).is_empty(), "it is left alone");
    }
}
