//! The process's metrics recorder, rendered in Prometheus's text format.
//!
//! One recorder a process: a second `install` answers the first one's handle.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{sync::OnceLock, time::Duration};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Upper bounds in seconds for every histogram whose name ends in `_seconds`.
const SECONDS: [f64; 14] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// How often samples become counts.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the recorder, or answers the one already there.
///
/// # Panics
/// When another library installed a recorder of its own: a mistake in the program.
pub fn install() -> PrometheusHandle {
    HANDLE
        .get_or_init(|| {
            let handle = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                .expect("the bucket list is not empty")
                .install_recorder()
                .expect("no other metrics recorder is installed in this process");
            let upkept = handle.clone();
            // Samples of histograms are kept one by one until somebody asks, and perhaps nobody does.
            std::thread::Builder::new()
                .name("metrics".to_owned())
                .spawn(move || {
                    loop {
                        std::thread::sleep(UPKEEP);
                        upkept.run_upkeep();
                    }
                })
                .expect("the system has room for a thread");
            handle
        })
        .clone()
}

/// What a program counts: as `/metrics` has it, and as documents say it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    labels: Labels,
    help: &'static str,
}

/// Labels, each with all of its values where these are known beforehand.
pub type Labels = &'static [(&'static str, &'static [&'static str])];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    /// What it is called.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A number that only grows.
    #[must_use]
    pub const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// A number as it is now.
    #[must_use]
    pub const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// How often something was within which bound.
    #[must_use]
    pub const fn histogram(name: &'static str, labels: Labels, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }
}

/// Has `/metrics` say what each of them is; series that are known beforehand begin with zero, so
/// that a first failure is an increase.
pub fn describe(all: &[Metric]) {
    install();
    for metric in all {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
        let series: Vec<Vec<(&str, &str)>> = match metric.labels {
            [] => vec![Vec::new()],
            [(label, values)] => values.iter().map(|value| vec![(*label, *value)]).collect(),
            _ => Vec::new(),
        };
        for labels in series {
            match metric.kind {
                Kind::Counter => drop(metrics::counter!(metric.name, &labels)),
                Kind::Gauge => drop(metrics::gauge!(metric.name, &labels)),
                Kind::Histogram => drop(metrics::histogram!(metric.name, &labels)),
            }
        }
    }
}

/// The same as rows of a document.
#[must_use]
pub fn table(all: &[Metric]) -> String {
    let mut table = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, help } in all {
        let kind = format!("{kind:?}").to_lowercase();
        let labels = labels.iter().map(|(label, values)| match values {
            [] => format!("`{label}`"),
            values => format!("`{label}`: {}", values.join(", ")),
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    table
}
