//! The rules of a Function that need code: what neither the schema nor CEL can say.

use crate::{
    ByteSize, Function, KafkaTrigger, Start, annotations,
    field::{field_of, pointer_of},
};
use chrono::DateTime;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::str::FromStr;
use tidemill_filter::Filters;

/// The longest name: it becomes a label of the pods.
const LONGEST_NAME: usize = 63;
/// The most that a batch may have: what waits in a replica for all partitions together.
const LARGEST_BATCH: ByteSize = ByteSize::from_mib(64);
/// The most replicas that can be asked for.
const MOST_REPLICAS: u32 = 10_000;

/// A rule that a manifest breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Broken {
    /// The field, such as `spec.trigger.kafka.topics[0]`.
    #[must_use]
    pub fn field(&self) -> String {
        field_of(&self.pointer)
    }
}

/// The rules that need code: each broken one.
#[must_use]
pub fn problems(function: &Function) -> Vec<Broken> {
    let fields = field_problems(function).into_iter();
    let mut problems: Vec<_> = fields.map(|(field, message)| Broken { pointer: pointer_of(field), message }).collect();
    problems.extend(function.spec.trigger.kafka.as_ref().and_then(filter_problem));
    problems
}

fn filter_problem(kafka: &KafkaTrigger) -> Option<Broken> {
    let error = Filters::compile(&kafka.filter).err()?;
    Some(Broken { pointer: format!("/spec/trigger/kafka/filter{}", error.pointer), message: error.message })
}

/// The rules of single fields: field and message.
fn field_problems(function: &Function) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let name = function.metadata.name.as_deref().unwrap_or_default();
    if name.len() > LONGEST_NAME || name.contains('.') {
        let message = format!(
            "`{name}` must have at most {LONGEST_NAME} characters and no dot: its pods and Deployment are named by it"
        );
        problems.push(("metadata.name", message));
    }
    // To CEL, a field that is null is there.
    if function.spec.trigger.kafka.is_none() && function.spec.trigger.schedule.is_none() {
        problems.push(("spec.trigger", "is null: write `kafka` or `schedule` with fields of its own".to_owned()));
    }
    if function.spec.image.is_none() && function.spec.package.is_none() {
        problems.push(("spec", "`image` or `package` is null: write one of them with a value".to_owned()));
    }
    if let Some(schedule) = &function.spec.trigger.schedule {
        if let Err(error) = croner::Cron::from_str(&schedule.cron) {
            let message = format!(
                "`{}` is not a cron expression ({error}): write five fields, such as \"*/5 * * * *\"",
                schedule.cron
            );
            problems.push(("spec.trigger.schedule.cron", message));
        }
        if schedule.time_zone.parse::<chrono_tz::Tz>().is_err() {
            let message =
                format!("`{}` is not a time zone: use an IANA name, such as Europe/Paris", schedule.time_zone);
            problems.push(("spec.trigger.schedule.timeZone", message));
        }
    }
    if let Some(kafka) = &function.spec.trigger.kafka
        && let Start::Timestamp(timestamp) = &kafka.start
        && DateTime::parse_from_rfc3339(timestamp).is_err()
    {
        let message = format!("`{timestamp}` is not a time: write RFC 3339, such as 2026-01-01T00:00:00Z");
        problems.push(("spec.trigger.kafka.start.timestamp", message));
    }
    if let Some(kafka) = &function.spec.trigger.kafka {
        let twice = kafka.topics.iter().enumerate().find(|(place, topic)| kafka.topics[..*place].contains(topic));
        if let Some((_, topic)) = twice {
            problems.push(("spec.trigger.kafka.topics", format!("`{topic}` is named twice: name each topic once")));
        }
    }
    if let Some(kafka) = &function.spec.trigger.kafka {
        let size = kafka.batch.max_bytes;
        if size > LARGEST_BATCH {
            let message =
                format!("`{size}` must be at most {LARGEST_BATCH}: each replica keeps as much for each partition");
            problems.push(("spec.trigger.kafka.batch.maxBytes", message));
        }
        let (output, letters) = (function.spec.output.as_ref(), function.spec.on_failure.as_ref());
        if let (Some(output), Some(letters)) = (output, letters.and_then(|letters| letters.topic.as_ref()))
            && output.topic == *letters
            && output.cluster.as_ref().is_none_or(|cluster| *cluster == kafka.cluster)
        {
            let message = format!("`{letters}` is `output.topic` too: failed records would be taken for outputs");
            problems.push(("spec.onFailure.topic", message));
        }
    }
    if let Some(resources) = &function.spec.resources {
        for (field, all) in
            [("spec.resources.limits", &resources.limits), ("spec.resources.requests", &resources.requests)]
        {
            for (name, Quantity(amount)) in all.iter().flatten().filter(|(_, amount)| !is_quantity(&amount.0)) {
                let message = format!("{name}: `{amount}` is not a quantity: write 500m, 128Mi or 1Gi");
                problems.push((field, message));
            }
        }
    }
    problems.extend(annotation_problems(function).map(|message| ("metadata.annotations", message)));
    problems
}

/// The annotations of ours that say nothing we know.
fn annotation_problems(function: &Function) -> impl Iterator<Item = String> + '_ {
    let all = function.metadata.annotations.iter().flatten();
    all.filter_map(|(name, value)| match name.as_str() {
        annotations::PAUSED if !["true", "false"].contains(&value.as_str()) => {
            Some(format!("`{name}` must be \"true\" or \"false\""))
        }
        annotations::PAUSED_REPLICAS if !value.parse::<u32>().is_ok_and(|count| count <= MOST_REPLICAS) => {
            Some(format!("`{name}` must be a number up to {MOST_REPLICAS}, such as \"2\""))
        }
        annotations::PAUSED | annotations::PAUSED_REPLICAS | annotations::LOCAL_COMMAND => None,
        _ if name.starts_with("tidemill.dev/") => {
            let known = [annotations::PAUSED, annotations::PAUSED_REPLICAS, annotations::LOCAL_COMMAND];
            Some(format!("`{name}` is not known: there are `{}`", known.join("`, `")))
        }
        _ => None,
    })
}

/// Whether that is a quantity as Kubernetes reads it: a number, and a suffix or an exponent.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let number = text.trim_start_matches(['+', '-']);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let (digits, suffix) = number.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i32>().is_ok());
    digits.parse::<f64>().is_ok() && (SUFFIXES.contains(&suffix) || exponent)
}
