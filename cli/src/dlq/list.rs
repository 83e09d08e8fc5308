//! `tidemill dlq list`: the topics of dead letters, and what is in them.

use super::{
    Cluster,
    count::count,
    partitions,
    tally::{self, Tally},
    topics,
};
use crate::output::Format;
use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use std::{collections::BTreeSet, process::ExitCode};
use tidemill_kafka::topic_spans_of;
use tokio::task::block_in_place;

/// List the topics of dead letters, with how many there are of each error-type.
///
/// Without names, those are listed that begin with `dlq.`. Every letter is read to be counted.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidemill dlq list\n  tidemill dlq list --kafka kafka:9092 --output json\n  tidemill dlq list failed-orders\n\nExit codes: 0 listed, 1 failed."
)]
pub struct List {
    /// Topics of other names, instead of those that begin with `dlq.`
    topics: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    /// How the topics are written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

impl List {
    /// Counts the letters of each topic and prints the counts.
    ///
    /// # Errors
    /// When Kafka does not answer, or a topic is not there.
    pub fn run(self) -> Result<ExitCode> {
        let connection = self.cluster.connection()?;
        let there = partitions(&connection)?;
        for topic in &self.topics {
            topics::known(topic, &there, connection.bootstrap())?;
        }
        let names: BTreeSet<_> =
            if self.topics.is_empty() { topics::of_letters(&there).collect() } else { self.topics.iter().collect() };
        let asked = names.iter().map(|name| (name.as_str(), there[*name])).collect();
        let spans = block_in_place(|| topic_spans_of(&connection, &asked))?;
        let topics = names.into_iter().map(|name| {
            let spans = spans.get(name).with_context(|| format!("the brokers tell no partition of `{name}`"))?;
            Ok((name.clone(), spans.clone()))
        });
        let tallies = count(&connection, &topics.collect::<Result<Vec<_>>>()?)?;
        match self.output {
            Format::Table if tallies.is_empty() => {
                eprintln!(
                    "no topic of dead letters (dlq.…) is on {}; for another `onFailure.topic`: `tidemill dlq list TOPIC`",
                    connection.bootstrap()
                );
            }
            Format::Table => println!("{}", table(&tallies)),
            structured => structured.print(&tallies)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(tallies: &[Tally]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["TOPIC", "RECORDS", "OLDEST", "NEWEST", "ERROR-TYPES"]);
    for tally in tallies {
        let time = |time: Option<_>| time.map_or_else(|| "-".to_owned(), tally::text);
        let row: [String; 5] =
            [tally.topic.clone(), tally.records.to_string(), time(tally.oldest), time(tally.newest), tally.kinds()];
        table.add_row(row);
    }
    if let Some(records) = table.column_mut(1) {
        records.set_cell_alignment(CellAlignment::Right);
    }
    table
}
