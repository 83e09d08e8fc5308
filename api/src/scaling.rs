//! Between how many replicas, and by what, a function is scaled.

use crate::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Between how many replicas, and by what, the function is scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.min <= self.max", "message": "`min` must not be above `max`"},
    {"rule": "!(has(self.drainTarget) && has(self.lagPerReplica))", "message": "set at most one of `drainTarget` and `lagPerReplica`"}
]))]
pub struct Scaling {
    /// At least so many replicas; 0 lets the function rest.
    #[schemars(range(min = 0, max = 10_000))]
    pub min: u32,
    /// At most so many replicas.
    #[schemars(range(min = 1, max = 10_000))]
    pub max: u32,
    /// How soon a backlog should be worked off; `10s` where neither this nor `lagPerReplica`
    /// is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_target: Option<Duration>,
    /// One replica for each so many records of lag, as in KEDA's `lagThreshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_000_000_000))]
    pub lag_per_replica: Option<u32>,
    /// A function at zero starts when its lag is above this.
    #[schemars(range(min = 0, max = 2_000_000_000))]
    pub activation_lag: u32,
    /// How long the lag must have been gone before replicas are taken away.
    pub cooldown: Duration,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            min: 0,
            max: 10,
            drain_target: None,
            lag_per_replica: None,
            activation_lag: 0,
            cooldown: Duration::from_secs(60),
        }
    }
}
