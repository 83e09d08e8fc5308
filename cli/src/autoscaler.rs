//! `tidemill autoscaler replay`: decides again what an operator saw.

use crate::output::Format;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    fs::File,
    io::{BufRead, BufReader, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tidemill_api::Duration;
use tidemill_autoscaler::{Line, replay};

/// How functions are scaled.
#[derive(Debug, Subcommand)]
pub enum Autoscaler {
    Replay(Replay),
}

/// Decide again what an operator saw, and print each decision.
///
/// The looks are those of the operator's /debug/scaling. With other settings each decision is the
/// one that would have been made at that look; what later looks saw stays as it was.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kubectl -n tidemill port-forward deploy/tidemill-operator 9464 &\n  curl -s 'localhost:9464/debug/scaling?function=default/normalize' > looks.ndjson\n  tidemill autoscaler replay looks.ndjson\n  tidemill autoscaler replay --drain-target 5s --max 24 looks.ndjson\n\nExit codes: 0 decided as then, 1 a decision differs."
)]
pub struct Replay {
    /// The looks, one JSON document a line; `-` is standard input
    file: PathBuf,
    /// Another `drainTarget`
    #[arg(long)]
    drain_target: Option<Duration>,
    /// Another `cooldown`
    #[arg(long)]
    cooldown: Option<Duration>,
    /// Another `max`
    #[arg(long)]
    max: Option<u32>,
    /// How decisions are written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    seconds: f64,
    lag: Option<u64>,
    replicas: u32,
    ready: u32,
    decided: u32,
    reason: String,
    /// What was decided then, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<u32>,
}

impl Replay {
    /// Prints the decisions, and answers whether they are those of then.
    ///
    /// # Errors
    /// When the file cannot be read or is no journal.
    pub fn run(&self) -> Result<ExitCode> {
        let mut lines = read(&self.file)?;
        for line in &mut lines {
            if let Line::Entry(entry) = line {
                let scaling = &mut entry.rules.scaling;
                if self.drain_target.is_some() {
                    (scaling.drain_target, scaling.lag_per_replica) = (self.drain_target, None);
                }
                scaling.cooldown = self.cooldown.unwrap_or(scaling.cooldown);
                scaling.max = self.max.unwrap_or(scaling.max);
            }
        }
        let rows: Vec<Row> = replay(lines)
            .map(|(entry, decision)| Row {
                seconds: entry.look.at.as_secs_f64(),
                lag: entry.look.lag(),
                replicas: entry.look.replicas,
                ready: entry.look.ready,
                then: (decision.replicas != entry.decision.replicas).then_some(entry.decision.replicas),
                decided: decision.replicas,
                reason: decision.reason,
            })
            .collect();
        if rows.is_empty() {
            bail!("{}: no looks are there: the function may have rested for long", self.file.display());
        }
        match self.output {
            Format::Table => table(&rows),
            structured => structured.print(&rows)?,
        }
        Ok(if rows.iter().all(|row| row.then.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn table(rows: &[Row]) {
    println!("{:>10} {:>9} {:>8} {:>5} {:>7}  REASON", "SECONDS", "LAG", "REPLICAS", "READY", "DECIDED");
    for row in rows {
        let lag = row.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let then = row.then.map(|then| format!(" (then: {then})")).unwrap_or_default();
        let Row { seconds, replicas, ready, decided, reason, .. } = row;
        println!("{seconds:>10.1} {lag:>9} {replicas:>8} {ready:>5} {decided:>7}  {reason}{then}");
    }
}

fn read(file: &Path) -> Result<Vec<Line>> {
    let name = file.display();
    let reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("failed to read {name}"))?))
    };
    let numbered = reader.lines().zip(1_usize..);
    let line = |(text, number): (std::io::Result<String>, usize)| {
        let text = text.with_context(|| format!("failed to read {name}"))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{name}, line {number}: not a look: pass what /debug/scaling?function=… answers"))
    };
    numbered.map(line).collect()
}
