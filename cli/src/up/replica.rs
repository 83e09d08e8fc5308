//! One replica of a function: a runner in a process of its own.

use anyhow::{Context, Result};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fs::File, path::Path, process::Stdio, sync::Arc, time::Duration};
use tidemill_runner::{report::Report, stats::Totals};
use tidemill_service::child::{self, Launcher};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout},
    task::JoinHandle,
};
use tracing::warn;

/// A running replica.
#[derive(Debug)]
pub struct Replica {
    process: Child,
    report: Arc<Mutex<Report>>,
    reader: JoinHandle<()>,
}

impl Replica {
    /// Starts a runner with the configuration and these variables of its own; its log goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        launcher: &Launcher,
        config: &Path,
        environment: &BTreeMap<String, String>,
        log: &Path,
    ) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("failed to write {}", log.display()))?;
        // Where this program was when it began: it may have been built anew since, and then has no path.
        let mut process = child::command(launcher, launcher.path())
            .args(["runner", "--report", "--config"])
            .arg(config)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("failed to start a runner")?;
        let report = Arc::new(Mutex::new(Report::default()));
        let stdout = process.stdout.take().context("the runner's output was asked for")?;
        let reader = tokio::spawn(read(stdout, report.clone()));
        Ok(Self { process, report, reader })
    }

    /// How it is.
    #[must_use]
    pub fn report(&self) -> Report {
        self.report.lock().clone()
    }

    /// Its end, where it has ended.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Lets it finish, commit and leave the group; answers what it did in its life.
    pub async fn stop(mut self, patience: Duration) -> Totals {
        if let Err(error) = child::stop(&mut self.process, patience).await {
            warn!(%error, "a runner could not be stopped");
        }
        self.totals().await
    }

    /// What it did in its life, once it has ended.
    pub async fn totals(self) -> Totals {
        // The pipe ends with the process.
        if self.reader.await.is_err() {
            warn!("reading a runner's report has panicked");
        }
        self.report.lock().totals
    }
}

async fn read(stdout: ChildStdout, report: Arc<Mutex<Report>>) {
    let mut lines = BufReader::new(stdout).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) => match serde_json::from_str(&line) {
                Ok(new) => *report.lock() = new,
                Err(error) => warn!(%error, line, "a runner's report is not understood"),
            },
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "a runner's report cannot be read");
                return;
            }
        }
    }
}
