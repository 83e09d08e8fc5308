//! A Redis for tests, with its data on disk so that a restart keeps it.

use crate::daemon::Daemon;
use anyhow::{Context, Result};
use std::time::Duration;

/// The Redis of the testbed, port 26379.
///
/// # Errors
/// When the cache folder is unknown.
pub fn service() -> Result<Daemon> {
    Daemon::new("redis", 26_379)
}

/// Starts it, where it does not run.
///
/// # Errors
/// When `redis-server` is not there or does not start.
pub fn start() -> Result<Daemon> {
    let redis = service()?;
    if redis.pid().is_none() {
        serve(&redis, &[])?;
    }
    Ok(redis)
}

/// Starts a Redis, with more settings than the usual ones.
///
/// # Errors
/// When `redis-server` is not there or does not start.
pub fn serve(redis: &Daemon, settings: &[&str]) -> Result<()> {
    let port = redis.address.port().to_string();
    let folder = redis.folder().display().to_string();
    let arguments = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", &folder];
    // Pods come to loopback from addresses of their own, and protected mode refuses those.
    let pods = ["--protected-mode", "no"];
    // Redis writes its title over its command line: keep the folder in it.
    let title = format!("redis {folder}");
    let title = ["--proc-title-template", &title];
    let arguments = arguments.iter().chain(&pods).chain(&title).chain(settings).map(|word| (*word).to_owned());
    redis
        .start("redis-server", &arguments.collect::<Vec<_>>(), Duration::from_secs(10))
        .context("Redis is needed (Debian: apt-get install redis-server)")
}
