//! Which of the operator's replicas may write: the holder of a Lease.
//!
//! A holder that ends gives the Lease back; one that is killed loses it after `DURATION`. A holder
//! that lost it, or that has not heard of the API server for as long, ends its process: nothing it
//! has begun can write after the next one started.

use anyhow::{Context as _, Result};
use http::StatusCode;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Seconds after its last renewal in which nobody else may take the Lease.
const DURATION: u64 = 10;
/// Seconds before the end of that in which it is renewed.
const GRACE: u64 = 6;

/// How often it is looked whether the API server still answers.
const LOOK: Duration = Duration::from_millis(500);

/// When the API server last answered.
#[derive(Clone, Debug)]
pub struct Contact(Arc<Mutex<Instant>>);

impl Default for Contact {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Contact {
    /// An answer came.
    pub fn heard(&self, status: StatusCode) {
        if !status.is_server_error() {
            *self.0.lock() = Instant::now();
        }
    }

    fn last(&self) -> Instant {
        *self.0.lock()
    }
}

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

    /// Returns when it is lost, or may be: it is renewed every four seconds, and where no answer
    /// comes nobody knows.
    pub async fn lost(&mut self, contact: &Contact) {
        let silent = async {
            while contact.last().elapsed() < Duration::from_secs(DURATION) {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            // An error means that the task has ended, and then nobody renews it.
            lost = self.state.wait_for(|held| !*held) => drop(lost),
            () = silent => {}
        }
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
