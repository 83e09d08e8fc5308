//! The rules of a Function that need code: what neither the schema nor CEL can say.

use crate::{Function, Start, annotations};
use chrono::DateTime;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::str::FromStr;

/// The most replicas that can be asked for.
const MOST_REPLICAS: u32 = 10_000;

/// The rules that need code: each broken one as its field and what would be right.
#[must_use]
pub fn problems(function: &Function) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
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
            let (one, other) = (annotations::PAUSED, annotations::PAUSED_REPLICAS);
            Some(format!("`{name}` is not known: there are `{one}` and `{other}`"))
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
