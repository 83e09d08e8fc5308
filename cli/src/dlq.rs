//! `tidemill dlq`: what failed, why, and back to where it came from.

mod cluster;
mod count;
mod filter;
mod letter;
mod list;
mod pace;
mod replay;
mod show;
mod summary;
mod tally;
mod topics;

use anyhow::{Context, Result};
use clap::Subcommand;
use cluster::Cluster;
use indicatif::{ProgressBar, ProgressStyle};
use letter::Letter;
use std::{collections::BTreeMap, process::ExitCode};
use tidemill_kafka::{Connection, Spans, TopicReader, topic_partitions};
use tidemill_runner::record::Record;
use tokio::task::block_in_place;

/// What failed, why, and back to where it came from.
#[derive(Debug, Subcommand)]
pub enum Dlq {
    List(list::List),
    Show(show::Show),
    Replay(Box<replay::Replay>),
}

impl Dlq {
    /// Does it.
    ///
    /// # Errors
    /// When Kafka does not answer, or a topic is not there.
    pub async fn run(self) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Replay(replay) => replay.run().await,
        }
    }
}

/// Partitions of each topic.
fn partitions(connection: &Connection) -> Result<BTreeMap<String, i32>> {
    block_in_place(|| topic_partitions(connection)).with_context(|| {
        format!("{} tells nothing: start `tidemill up`, or name other brokers with --kafka", connection.bootstrap())
    })
}

/// Letters of a topic, one after another.
struct Letters(TopicReader);

impl Letters {
    fn open(connection: &Connection, topic: &str, spans: &Spans) -> Result<Self> {
        Ok(Self(TopicReader::new(connection, topic, spans)?))
    }

    fn next(&mut self) -> Result<Option<Letter>> {
        let message = block_in_place(|| self.0.read())?;
        Ok(message.map(|message| Letter::new(Record::copy(&message))))
    }
}

/// A bar over that many offsets, on standard error where that is a terminal.
fn progress(offsets: u64) -> Result<ProgressBar> {
    let template = "{wide_bar} {pos}/{len} letters, {per_sec}, {eta} left {msg}";
    Ok(ProgressBar::new(offsets).with_style(ProgressStyle::with_template(template)?))
}

/// How many offsets there are: at least as many as records.
fn offsets(spans: &Spans) -> u64 {
    spans.values().map(|span| u64::try_from(span.end - span.start).unwrap_or_default()).sum()
}
