//! Reads a candle channel's snapshot when its first subscriber comes.
//!
//! However many subscribe, one load runs for a channel, and it goes on until it has succeeded or
//! nobody waits for it.

use crate::{
    hub::{Hub, Loaded, Ticket},
    store::Store,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Starts loads.
#[derive(Clone)]
pub struct CandleLoader {
    hub: Arc<Hub>,
    store: Store,
    shutdown: CancellationToken,
}

impl CandleLoader {
    /// Loads from `store` into `hub` until `shutdown`.
    pub fn new(hub: Arc<Hub>, store: Store, shutdown: CancellationToken) -> Self {
        Self { hub, store, shutdown }
    }

    /// Starts the load that `ticket` is for.
    pub fn start(&self, ticket: Ticket) {
        let loader = self.clone();
        tokio::spawn(async move { loader.shutdown.run_until_cancelled(loader.load(&ticket)).await });
    }

    async fn load(&self, ticket: &Ticket) {
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .with_jitter()
            .build();
        while self.hub.awaits(ticket) {
            match self.store.candle_snapshot(&ticket.channel).await {
                Ok((heads, candles)) => {
                    if self.hub.load_candles(ticket, &heads.epoch, &heads.cursors(), &candles) == Loaded::Done {
                        return;
                    }
                }
                Err(error) => {
                    warn!(
                        channel = &*ticket.channel,
                        error = &error as &dyn std::error::Error,
                        "failed to load candles"
                    );
                }
            }
            tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(5))).await;
        }
    }
}
