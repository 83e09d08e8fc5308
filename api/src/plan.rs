//! A `Function` with every default resolved: what the runner runs and the scaler scales.
//!
//! Made from a manifest that [`crate::check`] accepted; nothing here can fail on one that was.

use crate::{
    Batch, Delivery, Function, KafkaTrigger, OnFailure, Ordering, RecordPart, Retry, S3Destination, Scaling,
    ScheduleTrigger, Start,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A function as it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The namespace of the resource.
    pub namespace: String,
    /// The name of the resource.
    pub name: String,
    /// `_HANDLER`.
    pub handler: String,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// Invocations in flight in one replica.
    pub concurrency: u32,
    /// Bytes of memory the function is told it has.
    pub memory_mib: u64,
    /// What starts it.
    pub trigger: TriggerPlan,
    /// Where its answers' records go.
    pub output: Option<OutputPlan>,
    /// How often a failing batch is tried.
    pub retry: Retry,
    /// Where records go that failed for good.
    pub on_failure: FailurePlan,
    /// Between how many replicas it is scaled.
    pub scaling: Scaling,
}

/// What starts a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TriggerPlan {
    /// Records of topics.
    Kafka(KafkaPlan),
    /// A clock.
    Schedule(ScheduleTrigger),
}

/// Which records, as which group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaPlan {
    /// `namespace/name` of the cluster.
    pub cluster: String,
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// Where a new group begins.
    pub start: Start,
    /// The limits of one invocation.
    pub batch: Batch,
    /// Which records wait for each other.
    pub ordering: Ordering,
    /// Which parts of a record are decoded, where there is a registry.
    pub decode: Vec<RecordPart>,
    /// Patterns; none match everything.
    pub filter: Vec<serde_json::Value>,
}

/// Where an answer's records go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputPlan {
    /// `namespace/name` of the cluster.
    pub cluster: String,
    /// The topic of a record that names none.
    pub topic: String,
    /// Topics that a record may name.
    pub allowed_topics: Vec<String>,
    /// Whether outputs and offsets are one transaction.
    pub delivery: Delivery,
}

/// Where a record goes that failed for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailurePlan {
    /// `dlq.<topic of the record>`.
    OwnTopic,
    /// One topic.
    Topic(String),
    /// A bucket.
    S3(S3Destination),
}

impl Plan {
    /// The plan of a function.
    #[must_use]
    pub fn of(function: &Function) -> Self {
        let spec = &function.spec;
        let namespace = function.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let name = function.metadata.name.clone().unwrap_or_default();
        let trigger = match (&spec.trigger.kafka, &spec.trigger.schedule) {
            (Some(kafka), _) => TriggerPlan::Kafka(KafkaPlan::of(kafka, &namespace, &name)),
            (None, Some(schedule)) => TriggerPlan::Schedule(schedule.clone()),
            (None, None) => unreachable!("the rule on `trigger` lets one of the two through"),
        };
        let output = spec.output.as_ref().map(|output| {
            let cluster = output.cluster.as_deref().or(spec.trigger.kafka.as_ref().map(|kafka| kafka.cluster.as_str()));
            OutputPlan {
                cluster: qualified(cluster.unwrap_or("main"), &namespace),
                topic: output.topic.clone(),
                allowed_topics: output.allowed_topics.clone(),
                delivery: output.delivery,
            }
        });
        let on_failure = match &spec.on_failure {
            Some(OnFailure { topic: Some(topic), .. }) => FailurePlan::Topic(topic.clone()),
            Some(OnFailure { s3: Some(s3), .. }) => FailurePlan::S3(s3.clone()),
            _ => FailurePlan::OwnTopic,
        };
        Self {
            handler: spec.handler.clone(),
            timeout: spec.timeout.get(),
            concurrency: spec.concurrency,
            memory_mib: memory_mib(function),
            trigger,
            output,
            retry: spec.retry.clone(),
            on_failure,
            scaling: spec.scaling.clone(),
            namespace,
            name,
        }
    }

    /// Whether outputs and offsets are one transaction.
    #[must_use]
    pub fn exactly_once(&self) -> bool {
        self.output.as_ref().is_some_and(|output| output.delivery == Delivery::ExactlyOnce)
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The Kafka trigger, where that is what starts it.
    #[must_use]
    pub fn kafka(&self) -> Option<&KafkaPlan> {
        match &self.trigger {
            TriggerPlan::Kafka(kafka) => Some(kafka),
            TriggerPlan::Schedule(_) => None,
        }
    }

    /// The topic where a failed record of `topic` goes; `None` for a bucket.
    #[must_use]
    pub fn dead_letter_topic(&self, topic: &str) -> Option<String> {
        match &self.on_failure {
            FailurePlan::OwnTopic => Some(format!("dlq.{topic}")),
            FailurePlan::Topic(topic) => Some(topic.clone()),
            FailurePlan::S3(_) => None,
        }
    }

    /// Every topic the function may write to: outputs, then dead letters.
    #[must_use]
    pub fn written_topics(&self) -> Vec<String> {
        let outputs =
            self.output.iter().flat_map(|output| std::iter::once(&output.topic).chain(&output.allowed_topics));
        let mut topics: Vec<String> = outputs.cloned().collect();
        match &self.trigger {
            TriggerPlan::Kafka(kafka) => {
                topics.extend(kafka.topics.iter().filter_map(|topic| self.dead_letter_topic(topic)))
            }
            TriggerPlan::Schedule(_) => topics.extend(self.dead_letter_topic(&self.name)),
        }
        topics
    }
}

impl KafkaPlan {
    fn of(kafka: &KafkaTrigger, namespace: &str, name: &str) -> Self {
        Self {
            cluster: qualified(&kafka.cluster, namespace),
            topics: kafka.topics.clone(),
            group: kafka.group.clone().unwrap_or_else(|| format!("{namespace}.{name}")),
            start: kafka.start.clone(),
            batch: kafka.batch.clone(),
            ordering: kafka.ordering,
            decode: kafka.decode.clone(),
            filter: kafka.filter.clone(),
        }
    }
}

/// `name` or `namespace/name` → `namespace/name`.
fn qualified(reference: &str, namespace: &str) -> String {
    if reference.contains('/') { reference.to_owned() } else { format!("{namespace}/{reference}") }
}

/// The memory limit in MiB; 128, Lambda's smallest, where there is none.
fn memory_mib(function: &Function) -> u64 {
    let limits = function.spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let memory = limits.and_then(|limits| limits.get("memory")).map(|quantity| quantity.0.as_str());
    let scaled = |text: &str, suffix: &str, scale: u64| {
        text.strip_suffix(suffix).and_then(|number| number.parse::<u64>().ok()).map(|number| number * scale)
    };
    memory
        .and_then(|text| {
            [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("G", 1_000_000_000), ("M", 1_000_000), ("", 1)]
                .into_iter()
                .find_map(|(suffix, scale)| scaled(text, suffix, scale))
        })
        .map_or(128, |bytes| (bytes >> 20).max(1))
}
