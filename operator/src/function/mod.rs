//! `Function`: dereference → validate → build → apply → status.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod status;
pub mod validate;

use crate::{
    context::{Context, key_of},
    load::There,
    observer::{Health, describe},
    schedule,
};
use kube::runtime::controller::Action;
use std::{sync::Arc, time::Duration};
use tidemill_api::{Function, plan::TriggerPlan, reasons};
use tracing::warn;

/// Why a function could not be reconciled for now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A child could not be written.
    #[error("failed to apply Deployment {name}")]
    Apply {
        /// Its name.
        name: String,
        /// The API server's reason.
        source: kube::Error,
    },
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
    /// Kafka did not take what the function needs there.
    #[error("failed to prepare the function in Kafka")]
    Kafka(#[source] tidemill_kafka::Error),
}

impl Error {
    /// What the API server has against the pods that the manifest asks for.
    fn refusal(&self) -> Option<validate::Refusal> {
        let Self::Apply { source: kube::Error::Api(status), .. } = self else { return None };
        let said = [400, 422].contains(&status.code);
        let message = || format!("its pods cannot be made as the manifest asks: {}", status.message);
        said.then(|| validate::Refusal { reason: reasons::INVALID_SPEC, message: message() })
    }
}

/// Brings the cluster to what the function says.
///
/// # Errors
/// When the API server or Kafka does not answer; it is tried again.
pub async fn reconcile(mut function: Arc<Function>, context: Arc<Context>) -> Result<Action, Error> {
    if function.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let found = dereference::dereference(&function, &context);
    let validated = match validate::validate(&function, found) {
        Ok(validated) => validated,
        Err(refusal) => {
            // What runs goes on as it is; nothing new is begun.
            status::refused(&function, refusal, &context).await?;
            return Ok(Action::await_change());
        }
    };
    let running = context.stores.deployment(&validated.plan.namespace, &validated.plan.name);
    let running = running.and_then(|deployment| deployment.spec.as_ref()?.replicas).unwrap_or_default();
    let running = u32::try_from(running).unwrap_or_default();
    let key = key_of(&*function);
    for cluster in context.clusters.all() {
        // It may have named another cluster before, whose group of it says nothing any more.
        if cluster.key != validated.trigger_cluster.key || validated.plan.kafka().is_none() {
            cluster.observer.remove(&key);
        }
    }
    for cluster in [Some(&validated.trigger_cluster), validated.output_cluster.as_ref()].into_iter().flatten() {
        cluster.observer.want(&key, validated.topics_in(cluster));
    }
    let pods = context.stores.pods_of(&validated.plan.namespace, &validated.plan.name);
    let ready = u32::try_from(pods.iter().filter(|pod| status::is_ready(pod)).count()).unwrap_or(u32::MAX);
    let there = There { replicas: running, ready };
    let mut load = context.loads.declare(&key, &validated.plan, validated.hold, there, function.status.as_ref());
    let mut action = Action::await_change();
    let mut refused = None;
    match &validated.plan.trigger {
        TriggerPlan::Kafka(kafka) => {
            let observer = &validated.trigger_cluster.observer;
            let group = dereference::group(kafka);
            // A cluster that does not answer holds up nobody but its own functions.
            let answers = matches!(observer.health(), Health::Answers(_));
            let begins = !observer.looks_at(&key, &group);
            if answers && (begins || apply::lacks_dead_letters(&validated)) {
                match apply::in_kafka(&validated, begins).await {
                    Ok(()) => observer.add(&key, group),
                    Err(error) => {
                        // What runs goes on and is scaled; what is missing is said and tried again.
                        warn!(function = key, error = describe(&error), "the function is not prepared in Kafka");
                        refused = Some(describe(&error));
                        action = Action::requeue(Duration::from_secs(15));
                    }
                }
            }
        }
        TriggerPlan::Schedule(trigger) => {
            let tick = schedule::tick(&function, trigger, &validated, &context).await?;
            load = context.loads.demanded(&key, tick.due, std::time::Instant::now());
            action = Action::requeue(tick.look_again);
            // What was just written is where the status goes on from.
            function = Arc::new(Function { status: Some(tick.status), ..(*function).clone() });
        }
    }
    let deployment = build::deployment(&function, &validated, &context.settings, load.replicas);
    let applied = match apply::deployment(&function, deployment, &context).await {
        Ok(applied) => applied,
        Err(error) => {
            let Some(refusal) = error.refusal() else { return Err(error) };
            // Nothing is there to try again: the manifest must change.
            status::refused(&function, refusal, &context).await?;
            return Ok(action);
        }
    };
    status::accepted(&function, &validated, &load, applied.as_deref(), refused, &context).await?;
    Ok(action)
}

/// Forgets a function whose resource is gone; its pods go by their owner reference.
pub fn gone(key: &str, context: &Context) {
    for cluster in context.clusters.all() {
        cluster.observer.remove(key);
    }
    context.loads.remove(key);
    context.applied.remove(key);
    context.firings.remove(key);
    // One of the same name may have been made meanwhile, and reconciled before this was heard.
    context.triggers.function(key);
}

/// Tries again later; one function's trouble delays no other.
pub fn retry(function: Arc<Function>, error: &Error, _context: Arc<Context>) -> Action {
    warn!(function = key_of(&*function), error = describe(error), "function not reconciled");
    metrics::counter!("tidemill_operator_reconcile_errors_total", "kind" => "Function").increment(1);
    Action::requeue(Duration::from_secs(2))
}
