//! The programs of `local/companions.yaml`, started with the run and ended with it.

use crate::{
    local::{Companion, Local, fill},
    program,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tidemill_service::child::{self, Launcher};
use tokio::{process::Child, time::sleep};

/// How long a companion may take to be ready.
const PATIENCE: Duration = Duration::from_secs(15);

/// The companions of a run.
#[derive(Debug, Default)]
pub struct Companions {
    running: Vec<(Companion, Child)>,
    /// What `${…}` stands for.
    pub values: BTreeMap<String, String>,
}

impl Companions {
    /// Starts them and waits until each is ready.
    ///
    /// # Errors
    /// When one cannot be started or is not ready in time.
    pub async fn start(
        local: &Local,
        folder: &Path,
        logs: &Path,
        ports_folder: &Path,
        services: BTreeMap<String, String>,
        once: bool,
    ) -> Result<Self> {
        let launcher = Launcher::current().context("this program's own path is unknown")?;
        let mut values = services;
        let mut ports = Vec::new();
        for companion in &local.companions {
            let port = port(&ports_folder.join(&companion.name))?;
            values.insert(format!("{}.port", companion.name), port.clone());
            ports.push(port);
        }
        let mut running = Vec::new();
        for (companion, port) in local.companions.iter().zip(ports) {
            let mut own = values.clone();
            own.insert("port".to_owned(), port);
            let further = if once { &companion.once } else { &companion.live };
            let words =
                companion.command.iter().chain(further).map(|word| fill(word, &own)).collect::<Result<Vec<_>>>()?;
            let Some((name, arguments)) = words.split_first() else {
                bail!("local/companions.yaml: companion {}: `command` is empty", companion.name);
            };
            let program = program::companion(name, folder)?;
            let log = logs.join(format!("{}.log", companion.name));
            let output = File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
            let mut process = child::command(&launcher, &program)
                .args(arguments)
                .current_dir(folder)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
                .with_context(|| format!("failed to start {}", program.display()))?;
            if let Some(url) = &companion.ready {
                wait(&fill(url, &own)?, &mut process)
                    .await
                    .with_context(|| format!("companion {} is not ready: see {}", companion.name, log.display()))?;
            }
            running.push((companion.clone(), process));
        }
        Ok(Self { running, values })
    }

    /// Whether every source has ended.
    ///
    /// # Errors
    /// When one ended with a failure: what it would have produced is missing.
    pub fn sources_ended(&mut self) -> Result<bool> {
        for (companion, process) in self.running.iter_mut().filter(|(companion, _)| companion.source) {
            match process.try_wait()? {
                None => return Ok(false),
                Some(status) if status.success() => {}
                Some(status) => bail!("source {} ended with {status}", companion.name),
            }
        }
        Ok(true)
    }

    /// Ends them, sources first to finish what they have begun.
    ///
    /// # Errors
    /// When one cannot be waited for.
    pub async fn stop(&mut self) -> Result<()> {
        for (_, process) in &mut self.running {
            child::stop(process, Duration::from_secs(5)).await?;
        }
        Ok(())
    }
}

/// A free port: that of the last run where it is still free, since what functions remember of a
/// companion (its URLs) has the port in it.
fn port(file: &Path) -> Result<String> {
    let last = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let listener = last.and_then(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let listener = listener.map_or_else(|| TcpListener::bind(("127.0.0.1", 0)), Ok)?;
    let port = listener.local_addr()?.port().to_string();
    fs::write(file, &port).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(port)
}

async fn wait(url: &str, process: &mut Child) -> Result<()> {
    let started = Instant::now();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    loop {
        match client.get(url).send().await.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => {}
        }
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        sleep(Duration::from_millis(10)).await;
    }
}
