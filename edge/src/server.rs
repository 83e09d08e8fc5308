//! Puts the edge together and serves it until it is told to end.
//!
//! At the end no new client is taken, those there are told and closed, and what they were sent
//! before is written first.

use crate::{
    admission::Admission,
    candle_loader::CandleLoader,
    config::{self, Config},
    health::Health,
    hub::Hub,
    origin::Allowed,
    redis_feed::Feed,
    rest::Rest,
    routes,
    sockets::{self, Sockets},
    stats::Stats,
    store::{self, Store},
};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use std::{convert::Infallible, io, panic::resume_unwind, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

/// Time for a request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's headers.
const MAX_HEADERS: usize = 1024 * 1024;

/// Time that written bytes may stay unacknowledged, or the peer's window closed, before the
/// kernel ends the connection. It is what ends a client that has stopped reading.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle time before the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Time for the clients to take leave.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an edge can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The Redis URL can't be used.
    #[error("REDIS_URL can't be used")]
    Redis(#[from] redis::RedisError),
    /// The client of Redis can't be set up.
    #[error("failed to set up the client of Redis")]
    Store(#[from] store::Error),
}

/// Serves `config`'s edge on `listener` until `shutdown`, then closes its clients. Where Redis is
/// out of reach it serves too, says so in `/health`, and goes on trying.
///
/// # Errors
/// When a setting can't be used. Nothing that happens later ends it.
pub async fn serve(config: Config, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Error> {
    let client = redis::Client::open(config.redis_url)?;
    let stats = Arc::new(Stats::new());
    let hub = Hub::new(config.max_broadcast_rate, Arc::clone(&stats));
    let store = Store::new(client.clone())?;
    let loader = CandleLoader::new(Arc::clone(&hub), store.clone(), shutdown.clone());
    let admission = Admission::new(config.max_connections, Arc::clone(&stats));
    let tasks = TaskTracker::new();
    let router = routes::all(
        Sockets {
            hub: Arc::clone(&hub),
            loader: loader.clone(),
            admission: admission.clone(),
            stats: Arc::clone(&stats),
            tasks: tasks.clone(),
        },
        Rest { hub: Arc::clone(&hub), store },
        Health { stats: Arc::clone(&stats), admission },
        Allowed::from(config.allowed_origins),
    );
    let feed = Feed::new(client, Arc::clone(&hub), loader, Arc::clone(&stats));

    // They never end by themselves, and are aborted when the set is dropped.
    let mut workers = JoinSet::new();
    workers.spawn(feed.run());
    let paced = Arc::clone(&hub);
    workers.spawn(async move { paced.keep_pace().await });
    tokio::select! {
        () = shutdown.cancelled() => {}
        Some(Err(failure)) = workers.join_next() => resume_unwind(failure.into_panic()),
        never = accept(&listener, &router, &tasks, &shutdown) => match never {},
    }
    stats.set_draining();
    drop(listener);
    hub.close_all(sockets::restart);
    tasks.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, tasks.wait()).await.is_err() {
        warn!(connections = tasks.len(), "ended before every client took leave");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> Infallible {
    if let Ok(addr) = listener.local_addr() {
        info!(%addr, "edge is listening");
    }
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = tune(&stream) {
                    debug!(%error, "connection is gone already");
                    continue;
                }
                tasks.spawn(connection(stream, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                // Out of file descriptors most likely, and accepting at once would only spin.
                warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4))?;
    socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT))
}

/// Serves one connection; an upgraded one leaves this task for its session's.
async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(error = &error as &dyn std::error::Error, "connection ended early");
    }
}
