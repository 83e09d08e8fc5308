//! `tidemill dlq`: what failed, why, and back to where it came from.

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

use anyhow::Result;
use clap::{Args, Subcommand};
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

/// Which Kafka is asked.
#[derive(Args, Debug)]
struct Cluster {
    /// Bootstrap servers; by default the broker of `tidemill up`
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…", default_value = "127.0.0.1:9292")]
    kafka: String,
}

impl Cluster {
    fn connection(&self) -> Connection {
        Connection::plaintext(&self.kafka)
    }
}

/// Partitions of each topic.
fn partitions(connection: &Connection) -> Result<BTreeMap<String, i32>> {
    Ok(block_in_place(|| topic_partitions(connection))?)
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
