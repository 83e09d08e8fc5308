//! `news-site`: serves the made-up news site until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use clap::Parser;
use tidemill_loadtest::news::{Release, articles, router};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves a small made-up news site.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8099")]
    addr: SocketAddr,
    /// Let articles come out one after another, this far apart: 20s, 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    release_every: Option<Duration>,
    /// How many articles are out from the start
    #[arg(long, default_value_t = 12, requires = "release_every")]
    first: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    Args::parse().run().await
}

impl Args {
    async fn run(self) -> anyhow::Result<()> {
        let first = if self.release_every.is_some() { self.first } else { articles().len() };
        let site = router(Release { opened: Utc::now(), first, every: self.release_every })?;
        let listener = TcpListener::bind(self.addr)
            .await
            .with_context(|| format!("failed to listen on {}; choose another --addr", self.addr))?;
        println!("listening on http://{}", listener.local_addr()?);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        axum::serve(listener, site).with_graceful_shutdown(stop).await?;
        Ok(())
    }
}
