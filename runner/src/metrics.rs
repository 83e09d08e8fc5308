//! What a runner counts, for `/metrics` and for docs/metrics.md.

use tidemill_service::metrics::Metric;

/// All of it; each is counted where it happens.
pub const ALL: &[Metric] = &[
    Metric::counter(
        "tidemill_runner_records_total",
        &[("outcome", &["in", "out", "dropped", "dead_lettered"])],
        "Records whose outcome is durable (in, or firings of a schedule); those produced to outputs (out), left out by the filter or the function (dropped), given up to the failure destination (dead_lettered)",
    ),
    Metric::counter(
        "tidemill_runner_invocations_total",
        &[("result", &["success", "error", "timeout", "crash"])],
        "Invocations that ended, by how",
    ),
    Metric::histogram("tidemill_runner_invocation_seconds", &[], "How long the function worked on an invocation"),
    Metric::counter(
        "tidemill_runner_timeouts_total",
        &[],
        "Times that the function took longer than spec.timeout, for which it is killed",
    ),
    Metric::counter(
        "tidemill_runner_init_failures_total",
        &[],
        "Starts of the function that failed before it asked for work; of an image's container those that it reported itself (its restarts are the pod's)",
    ),
    Metric::gauge("tidemill_runner_partitions", &[], "Partitions that are assigned to this replica"),
    Metric::gauge(
        "tidemill_runner_partitions_held",
        &[],
        "Partitions that wait for a record which takes long or fails again and again; /report names it",
    ),
    Metric::counter(
        "tidemill_runner_partition_holds_total",
        &[],
        "Attempts at a dead letter that its topic refuses: the partition waits until the topic takes it",
    ),
    Metric::counter(
        "tidemill_runner_archive_errors_total",
        &[],
        "Attempts to keep a failed record in S3 that failed: the partition waits until one succeeds",
    ),
    Metric::counter("tidemill_runner_rebalances_total", &[], "Times that partitions were taken from this replica"),
    Metric::counter(
        "tidemill_runner_commit_errors_total",
        &[],
        "Commits of offsets that failed: tried again, and where the runner ends before one succeeds its records come twice",
    ),
    Metric::counter("tidemill_runner_fetch_errors_total", &[], "Errors that came in place of records"),
    Metric::counter(
        "tidemill_runner_transactions_total",
        &[("result", &["committed", "aborted"])],
        "Transactions under exactlyOnce; one that is aborted is made again",
    ),
];
