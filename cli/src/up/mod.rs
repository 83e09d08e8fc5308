//! `tidemill up`: a folder of manifests on this machine, with no cluster.
//!
//! The same runner as in a pod, the same scaler as in the operator; processes for pods. Every
//! process it starts is tied to it, so nothing outlives it, however it ends.

mod companions;
mod edited;
mod function;
mod lag;
mod replica;
mod run;
mod schedule;
mod state;
mod summary;
mod table;
mod topics;

use crate::{folder::Folder, output::Format, services::ServiceArgs};
use anyhow::{Context, Result};
use clap::Args;
use std::{fs::File, path::PathBuf, process::ExitCode, time::Instant};
use tidemill_service::shutdown;
use tracing_subscriber::EnvFilter;

/// Run the manifests of a folder on this machine: Kafka, Redis, S3, functions, edge.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidemill up examples/market\n  tidemill up examples/market --once --output json\n  tidemill up . --kafka localhost:9092 --redis redis://localhost:6379\n  tidemill up . --fresh\n\nCtrl-C ends it; records, state and consumer offsets stay in DIR/.tidemill for the next run."
)]
pub struct Up {
    /// The folder with the manifests
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Stop when every source is exhausted and every lag is zero, and print what was done
    #[arg(long)]
    once: bool,
    /// How the summary of --once is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
    /// Forget what earlier runs kept
    #[arg(long)]
    fresh: bool,
    /// Where records, state and logs are kept [default: DIR/.tidemill]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Address of the edge: page, WebSocket and HTTP
    #[arg(long, env = "WS_ADDR", default_value = "127.0.0.1:3002")]
    addr: String,
    #[command(flatten)]
    services: ServiceArgs,
    /// error, warn, info, debug or trace, for the log in the state folder
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

impl Up {
    /// Runs until stopped, or with `--once` until all is done.
    ///
    /// # Errors
    /// When something cannot be started, or a source or function fails for good.
    pub async fn run(self) -> Result<ExitCode> {
        let started = Instant::now();
        let manifests = edited::Manifests::of(&self.dir)?;
        let folder = Folder::read(&self.dir)?;
        let place = self.state.clone().unwrap_or_else(|| self.dir.join(".tidemill"));
        let state = state::State::open(&place, self.fresh)?;
        let logs = state.folder("logs")?;
        log_to(&logs.join("up.log"), &self.log_level)?;
        let stop = shutdown::on_signal();
        let mut run = run::Run::start(&self, folder, manifests, &state, stop).await?;
        let result = run.until_done().await;
        let totals = run.stop().await?;
        if !self.once {
            self.say(&format!("stopped; state kept in {}", place.display()));
        }
        result?;
        if self.once {
            summary::Summary::new(started.elapsed(), totals).print(self.output)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A line for people: on standard error where standard output is the result's.
    fn say(&self, line: &str) {
        if self.once {
            eprintln!("{line}");
        } else {
            // A terminal that has gone takes no output; the signal that says so ends the run.
            drop(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n")));
        }
    }
}

fn log_to(file: &std::path::Path, level: &str) -> Result<()> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("failed to write {}", file.display()))?;
    let filter = format!("{level},tansu=error,rama=error,s3s=warn");
    let filter = EnvFilter::try_new(&filter).with_context(|| format!("log level `{level}` is not understood"))?;
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(log).init();
    Ok(())
}
