//! What a runner tells the program that started it: a JSON line on standard output whenever
//! something changed, at most ten times a second, and a last one before it ends.

use crate::{
    health::Health,
    stats::{Held, Stats, Totals},
};
use axum::{Json, Router, routing::get};
use serde::{Deserialize, Serialize};
use std::{io::Write, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// The longest a change waits before it is told.
const INTERVAL: Duration = Duration::from_millis(100);

/// How a runner is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// `host:port` of `/live`, `/ready`, `/metrics` and, under a schedule, `/schedule`.
    pub admin: String,
    /// Whether the function asks for work.
    pub ready: bool,
    /// Why it cannot be started, or that it takes long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// What was done since the start.
    pub totals: Totals,
    /// Partitions that wait for a record which takes long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
}

/// Writes a line for each change until `stop`, then the last one.
pub async fn write(
    admin: String,
    mut totals: watch::Receiver<Totals>,
    mut health: watch::Receiver<Health>,
    stop: CancellationToken,
) {
    loop {
        line(&admin, *totals.borrow_and_update(), &health.borrow_and_update().clone());
        tokio::select! {
            changed = totals.changed() => if changed.is_err() { return },
            changed = health.changed() => if changed.is_err() { return },
            () = stop.cancelled() => break,
        }
        sleep(INTERVAL).await;
    }
    line(&admin, *totals.borrow(), &health.borrow().clone());
}

/// `/report`: the same as it is now, for whoever asks.
pub fn route(admin: String, stats: Arc<Stats>, health: watch::Receiver<Health>) -> Router {
    let totals = stats.watch();
    let answer = move || {
        let report = Report { held: stats.waiting(), ..report(&admin, *totals.borrow(), &health.borrow()) };
        std::future::ready(Json(report))
    };
    Router::new().route("/report", get(answer))
}

fn report(admin: &str, totals: Totals, health: &Health) -> Report {
    let failing = match health {
        Health::Slow(reason) | Health::Failing(reason) => Some(reason.clone()),
        Health::Starting | Health::Ready => None,
    };
    Report { admin: admin.to_owned(), ready: *health == Health::Ready, failing, totals, held: Vec::new() }
}

fn line(admin: &str, totals: Totals, health: &Health) {
    let report = report(admin, totals, health);
    let text = serde_json::to_string(&report).expect("the report is JSON");
    // Nobody may be reading any more; the work goes on.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
