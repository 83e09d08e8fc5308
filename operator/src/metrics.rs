//! What the operator counts, for `/metrics` and for docs/metrics.md.

use tidemill_service::metrics::Metric;

/// All of it; each is counted where it happens.
pub const ALL: &[Metric] = &[
    Metric::gauge(
        "tidemill_operator_leader",
        &[],
        "1 in the replica that holds the Lease: the others wait, and write nothing",
    ),
    Metric::gauge(
        "tidemill_operator_desired_replicas",
        &[("function", &[])],
        "Replicas that a Function on Kafka should have; status.reason says why",
    ),
    Metric::gauge(
        "tidemill_operator_lag",
        &[("function", &[])],
        "Records that its group has not committed; NaN where Kafka does not tell",
    ),
    Metric::gauge("tidemill_operator_arrival_rate", &[("function", &[])], "Records a second that arrive in its topics"),
    Metric::histogram(
        "tidemill_operator_wake_seconds",
        &[],
        "From the first record for a Function without replicas until that was acted on",
    ),
    Metric::counter(
        "tidemill_operator_wakes_missed_total",
        &[],
        "Functions at rest that got work without the watch on their topics saying so: a look found their records, or somebody else scaled them",
    ),
    Metric::counter(
        "tidemill_operator_reconcile_errors_total",
        &[("kind", &["Function"])],
        "Reconciles of Functions that failed and are tried again",
    ),
    Metric::counter(
        "tidemill_operator_applied_total",
        &[("kind", &["Deployment", "FunctionStatus"])],
        "Deployments and statuses of Functions that were written to the API server",
    ),
    Metric::counter(
        "tidemill_operator_api_requests_total",
        &[("verb", &[]), ("resource", &[])],
        "Requests to the API server",
    ),
    Metric::counter("tidemill_operator_kafka_requests_total", &[], "Requests to Kafka for lag"),
];
