//! A Kafka-compatible broker in this process, with its records in one SQLite file.
//!
//! It has no transactions and no KIP-848 groups: what needs them is refused before it starts.

use crate::{Error, listen};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};
use tansu_broker::{broker::Broker, coordinator::group::administrator::Controller};
use tansu_storage::StorageContainer;
use tokio::{net::TcpStream, task::JoinHandle, time::sleep};
use url::Url;

const SERVICE: &str = "the embedded Kafka broker";
/// How long the broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running broker.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Starts a broker that keeps its records in `folder`.
///
/// # Errors
/// When the port is taken, or the folder cannot be written.
pub async fn start(folder: &Path, address: SocketAddr) -> Result<Embedded, Error> {
    // The broker panics where it cannot listen: ask for the port first, to say it in words.
    drop(listen(SERVICE, address, "--kafka-port").await?);
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        service: SERVICE,
        action: format!("make {}", folder.display()),
        source,
    })?;
    let failed = |reason: String| Error::Failed { service: SERVICE, reason };
    let url = |text: String| Url::parse(&text).map_err(|error| failed(format!("{text}: {error}")));
    let storage = storage_url(&folder.join("broker.db"))?;
    let listener = url(format!("tcp://{address}"))?;
    let mut broker = Broker::<Controller<StorageContainer>, StorageContainer>::builder()
        .node_id(111)
        .cluster_id("tidemill")
        .incarnation_id(uuid::Uuid::new_v4())
        .advertised_listener(listener.clone())
        .listener(listener)
        .storage(storage)
        .silent(true)
        .build()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let task = tokio::spawn(async move {
        if let Err(error) = broker.serve(tokio::time::Instant::now()).await {
            tracing::error!(%error, "the embedded Kafka broker has ended");
        }
    });
    let started = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        if task.is_finished() || started.elapsed() > PATIENCE {
            return Err(failed(format!("it does not listen on {address}")));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(Embedded { address, task })
}

/// The broker reads an absolute path only behind a fourth slash, and as it stands in the URL.
fn storage_url(file: &Path) -> Result<Url, Error> {
    let refused = || Error::Failed {
        service: SERVICE,
        reason: format!("{} has characters that it cannot use: choose another folder with --state", file.display()),
    };
    let file = std::path::absolute(file).map_err(|_| refused())?;
    let text = file.to_str().ok_or_else(refused)?;
    let url = Url::parse(&format!("sqlite:///{text}")).map_err(|_| refused())?;
    if url.path() == format!("/{text}") { Ok(url) } else { Err(refused()) }
}

impl Embedded {
    /// `host:port` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Ends the broker. What it has acknowledged is in its file.
    pub fn stop(self) {
        self.task.abort();
    }
}
