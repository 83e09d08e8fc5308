//! What a runner is told: one JSON file, written by whoever starts it.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};
use tidemill_api::{
    Delivery,
    plan::{FailurePlan, Plan, TriggerPlan},
};

/// What a runner is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The function as it runs.
    pub plan: Plan,
    /// `host:port,…` of the trigger's cluster; of the output's under a schedule.
    pub bootstrap_servers: String,
    /// `host:port,…` of the output's cluster, where it is another one.
    #[serde(default)]
    pub output_servers: Option<String>,
    /// The function's program and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// A field that this runner cannot carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is not supported by this version: {remedy}")]
pub struct Unsupported {
    /// The manifest's field.
    pub field: &'static str,
    /// What to do instead.
    pub remedy: &'static str,
}

/// Whether the runner can do all that the plan asks for.
///
/// # Errors
/// Names the first field that it cannot: refusing is better than leaving a promise out.
pub fn supported(plan: &Plan) -> Result<(), Unsupported> {
    if plan.output.as_ref().is_some_and(|output| output.delivery == Delivery::ExactlyOnce) {
        return Err(Unsupported { field: "spec.output.delivery: exactlyOnce", remedy: "use atLeastOnce" });
    }
    if matches!(plan.on_failure, FailurePlan::S3(_)) {
        return Err(Unsupported { field: "spec.onFailure.s3", remedy: "use a topic" });
    }
    match &plan.trigger {
        TriggerPlan::Kafka(kafka) if !kafka.filter.is_empty() => Err(Unsupported {
            field: "spec.trigger.kafka.filter",
            remedy: "filter in the function and list the records in `dropped`",
        }),
        TriggerPlan::Kafka(_) | TriggerPlan::Schedule(_) => Ok(()),
    }
}
