//! When a runner joins its consumer group.
//!
//! Not before its function asks for work: a partition that is given to a runner without one would
//! stand still. And where several replicas were started at once, together with the others: each
//! one that came alone would have partitions move once more. Whoever scales knows how many are
//! coming and holds the answer until they are there; where nobody answers, nobody is waited for.

use crate::health::Health;
use futures::future::select_ok;
use std::time::Duration;
use tokio::{net::lookup_host, sync::watch, time::timeout};
use tracing::debug;

/// How long others are waited for at most.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Returns once the runner may join: its function asks for work, and `url`, where there is one,
/// has answered or does not.
pub async fn may_join(mut health: watch::Receiver<Health>, url: Option<String>) {
    if health.wait_for(|health| *health == Health::Ready).await.is_err() {
        return;
    }
    let Some(url) = url else { return };
    match timeout(PATIENCE, ask(&url)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(error, url, "nobody to join with"),
        Err(_) => debug!(url, "joining without the others"),
    }
}

/// Asks every address of the name: one of the operator's replicas knows.
async fn ask(url: &str) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let url = reqwest::Url::parse(url).map_err(|error| text(&error))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses = lookup_host((host.as_str(), port)).await.map_err(|error| text(&error))?;
    let asked = addresses.map(|address| {
        let (url, host) = (url.clone(), host.clone());
        Box::pin(async move {
            let client = reqwest::Client::builder().resolve(&host, address).build()?;
            client.get(url).send().await?.error_for_status()
        })
    });
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        return Err(format!("{host} has no address"));
    }
    select_ok(asked).await.map(drop).map_err(|error| text(&error))
}
