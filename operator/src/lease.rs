//! Which of the operator's replicas may write: the holder of a Lease.
//!
//! A holder that ends gives the Lease back; one that is killed loses it after `DURATION`. A holder
//! that lost it ends its process: nothing it has begun can write after the next one started.

use anyhow::{Context as _, Result};
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Seconds after its last renewal in which nobody else may take the Lease.
const DURATION: u64 = 10;
/// Seconds before the end of that in which it is renewed.
const GRACE: u64 = 6;

/// The Lease, held or waited for.
pub struct Lease {
    state: watch::Receiver<bool>,
    task: JoinHandle<kube_lease_manager::Result<LeaseManager>>,
}

impl Lease {
    /// Begins to wait for the Lease `name` as `identity`.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn wait_for(client: Client, namespace: &str, name: &str, identity: &str) -> Result<Self> {
        let manager = LeaseManagerBuilder::new(client, name)
            .with_namespace(namespace)
            .with_identity(identity)
            .with_field_manager(format!("tidemill-operator/{identity}"))
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await
            .with_context(|| format!("failed to use Lease {namespace}/{name}"))?;
        let (state, task) = manager.watch().await;
        Ok(Self { state, task })
    }

    /// Returns once it is held; `false` where `stop` came first.
    ///
    /// # Errors
    /// When the task that holds it has ended.
    pub async fn held(&mut self, stop: &CancellationToken) -> Result<bool> {
        tokio::select! {
            held = self.state.wait_for(|held| *held) => {
                held.context("the Lease is not looked after any more")?;
                info!("leader");
                Ok(true)
            }
            () = stop.cancelled() => Ok(false),
        }
    }

    /// Returns when it is lost.
    pub async fn lost(&mut self) {
        // An error means that the task has ended, and then nobody renews it.
        drop(self.state.wait_for(|held| !*held).await);
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When the API server does not answer; the Lease then runs out.
    pub async fn give_back(self) -> Result<()> {
        drop(self.state);
        self.task.await.context("the Lease's task has panicked")?.context("failed to give the Lease back")?;
        Ok(())
    }
}
