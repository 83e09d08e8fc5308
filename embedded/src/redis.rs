//! Redis as a child process that ends with this one.

use crate::{Error, listen};
use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tidemill_service::child::{self, Launcher};
use tokio::{process::Child, time::sleep};

const SERVICE: &str = "redis-server";
/// How long Redis may take to answer, its data file read included.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    process: Child,
}

/// Starts Redis with its append-only file in `folder`.
///
/// # Errors
/// When the program is not there, the port is taken, or the folder cannot be written.
pub async fn start(launcher: &Launcher, folder: &Path, address: SocketAddr) -> Result<Embedded, Error> {
    drop(listen(SERVICE, address, "--redis-port").await?);
    let io = |action: String| move |source| Error::Io { service: SERVICE, action, source };
    std::fs::create_dir_all(folder).map_err(io(format!("make {}", folder.display())))?;
    let log = folder.join("redis.log");
    let output = std::fs::File::create(&log).map_err(io(format!("make {}", log.display())))?;
    let mut command = child::command(launcher, SERVICE);
    command
        .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--hz", "5"])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(io("copy a handle".to_owned()))?)
        .stderr(output);
    let mut process = command.spawn().map_err(io(
        "start: install Redis (Debian: apt-get install redis-server), or name a running one with --redis".to_owned(),
    ))?;
    let started = Instant::now();
    let client = ::redis::Client::open(format!("redis://{address}/"))
        .map_err(|error| Error::Failed { service: SERVICE, reason: error.to_string() })?;
    loop {
        if let Ok(mut connection) = client.get_multiplexed_async_connection().await
            && ::redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        {
            return Ok(Embedded { address, process });
        }
        let ended = process.try_wait().map_err(io("be waited for".to_owned()))?;
        if ended.is_some() || started.elapsed() > PATIENCE {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(Error::Failed { service: SERVICE, reason: format!("{last} (see {})", log.display()) });
        }
        sleep(Duration::from_millis(10)).await;
    }
}

impl Embedded {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// The process, to see whether it still runs.
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// Ends it; its file is complete.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(mut self) -> std::io::Result<()> {
        child::stop(&mut self.process, Duration::from_secs(5)).await.map(drop)
    }
}
