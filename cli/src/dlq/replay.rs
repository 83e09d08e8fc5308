//! `tidemill dlq replay`: dead letters back to where they came from, or to another topic.
//!
//! Letters are read, sent and remembered batch by batch: a place is committed after the brokers
//! have acknowledged all that was sent before it. What ends in between is sent again, never left
//! out.

use super::{
    Cluster, Letters,
    filter::{Filter, Place},
    letter::Letter,
    offsets,
    pace::Pace,
    partitions, progress,
    summary::{Step, Summary},
    topics,
};
use crate::output::Format;
use anyhow::{Context, Result, bail};
use clap::{Args, builder::NonEmptyStringValueParser};
use indicatif::ProgressBar;
use std::{collections::BTreeMap, num::NonZeroU32, process::ExitCode, time::Instant};
use tidemill_kafka::{Bookmark, Spans, topic_spans};
use tidemill_runner::{
    output::{Error, KafkaSink},
    record::OutRecord,
};
use tidemill_service::shutdown;
use tokio::{task::block_in_place, time::sleep};
use tokio_util::sync::CancellationToken;

/// The most letters that are read before their places are committed.
const READ: usize = 1_000;
/// The same in bytes; it fits into a producer's queue several times.
const READ_BYTES: u64 = 8 << 20;

/// Send dead letters back to the topics that they came from.
///
/// Key, value and headers are those of the failed record, without what the runner added, and with
/// `replayed-from`. What was replayed is remembered as committed offsets of a consumer group, after
/// the brokers have acknowledged it: a replay that ends early goes on where it was, and sends at
/// most a batch twice. Each choice of filters and --to remembers for itself: a letter that two
/// of them take is sent by both. With --group that group remembers, and what the filters do not
/// take counts as done. Letters stay in their topic until its retention takes them.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  tidemill dlq replay dlq.raw-articles --dry-run\n  tidemill dlq replay dlq.raw-articles --rate 100\n  tidemill dlq replay dlq.raw-articles --error-type Timeout --since 2026-01-31T08:00:00Z\n  tidemill dlq replay dlq.raw-articles --offset 0:15 --to raw-articles-test\n  tidemill dlq replay dlq.raw-articles --from-start\n\nExit codes: 0 all letters that match are sent; 1 some were skipped, or it failed or was stopped."
)]
pub struct Replay {
    /// The topic of dead letters
    topic: String,
    /// Another topic than that each letter came from
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// At most so many letters a second
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// The group that remembers [default: tidemill.dlq-replay.TOPIC, and a name for filters and --to]
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// Forget what was replayed, and begin with the first letter
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    cluster: Cluster,
    /// How the summary is written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

/// A replay at work.
struct Run<'a> {
    args: &'a Replay,
    letters: Letters,
    bookmark: Bookmark,
    /// `None` sends nothing.
    sink: Option<KafkaSink>,
    /// Partitions of each topic that is there.
    topics: BTreeMap<String, i32>,
    summary: Summary,
    bar: ProgressBar,
}

/// Letters that were read together.
#[derive(Default)]
struct Batch {
    /// Where to go on after them.
    places: BTreeMap<i32, i64>,
    /// Those to send, with their places.
    records: Vec<(String, OutRecord)>,
    read: u64,
    /// Why it ends before a letter that can go nowhere yet.
    stuck: Option<anyhow::Error>,
}

impl Replay {
    /// Sends the letters and prints how many.
    ///
    /// # Errors
    /// When Kafka does not answer, or a topic is not there.
    pub async fn run(self) -> Result<ExitCode> {
        let connection = self.cluster.connection()?;
        let there = partitions(&connection)?;
        topics::known(&self.topic, &there, connection.bootstrap())?;
        if let Some(to) = &self.to {
            topics::takes_letters(to, &there, connection.bootstrap())?;
        }
        if self.to.as_ref() == Some(&self.topic) {
            bail!("--to is the topic that is read: name another one");
        }
        let group = self.group.clone().unwrap_or_else(|| self.own_group());
        let bookmark = Bookmark::new(&connection, &group, &self.topic)?;
        let spans = block_in_place(|| topic_spans(&connection, &self.topic))?;
        if let Some(Place { partition, offset }) = self.filter.beside(&spans).first() {
            let there = match spans.get(partition) {
                None => format!("it has the partitions 0 to {}", spans.len().saturating_sub(1)),
                Some(span) if span.is_empty() => format!("partition {partition} is empty"),
                Some(span) => format!("partition {partition} has {} to {}", span.start, span.end - 1),
            };
            bail!("{} has no letter at {partition}:{offset}: {there}", self.topic);
        }
        let is_empty = offsets(&spans) == 0;
        let spans = self.filter.narrow(self.left(spans, &bookmark)?);
        let mut run = Run {
            letters: Letters::open(&connection, &self.topic, &spans)?,
            bookmark,
            sink: if self.dry_run { None } else { Some(KafkaSink::new(&connection)?) },
            topics: there,
            summary: Summary::new(&self.topic, &group, self.dry_run, is_empty),
            bar: progress(offsets(&spans))?,
            args: &self,
        };
        let stop = shutdown::on_signal();
        let result = if offsets(&spans) == 0 { Ok(()) } else { run.until_done(&stop).await };
        run.bar.finish_and_clear();
        run.summary.ends_early = result.is_err();
        run.summary.print(self.output)?;
        result?;
        if stop.is_cancelled() {
            eprintln!("stopped: the same command goes on where it was");
        }
        let whole = run.summary.skipped.is_empty() && !stop.is_cancelled();
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn own_group(&self) -> String {
        let name = self.filter.name(self.to.as_deref()).map(|name| format!(".{name}")).unwrap_or_default();
        format!("tidemill.dlq-replay.{}{name}", self.topic)
    }

    /// What was not replayed yet.
    fn left(&self, spans: Spans, bookmark: &Bookmark) -> Result<Spans> {
        if self.from_start {
            if !self.dry_run {
                // Else a partition that this run does not come to would keep its old place.
                let firsts = spans.iter().map(|(partition, span)| (*partition, span.start)).collect();
                block_in_place(|| bookmark.put(&firsts))?;
            }
            return Ok(spans);
        }
        let places = block_in_place(|| bookmark.places(spans.keys().copied()))?;
        Ok(after(spans, &places))
    }
}

/// The spans after these places. A place behind the end is one of a topic that was made anew since.
fn after(mut spans: Spans, places: &BTreeMap<i32, i64>) -> Spans {
    for (partition, span) in &mut spans {
        if let Some(place) = places.get(partition).filter(|place| **place <= span.end) {
            span.start = span.start.max(*place);
        }
    }
    spans
}

impl Run<'_> {
    async fn until_done(&mut self, stop: &CancellationToken) -> Result<()> {
        let mut pace = Pace::new(self.args.rate);
        let again = "the same command goes on where this one was";
        while !stop.is_cancelled() {
            let began = Instant::now();
            let batch = self.read(pace.at_once())?;
            let sent = batch.records.len();
            self.settle(batch.records).await.context(again)?;
            if !self.args.dry_run {
                block_in_place(|| self.bookmark.put(&batch.places)).context(again)?;
            }
            self.bar.inc(batch.read);
            if let Some(stuck) = batch.stuck {
                return Err(stuck);
            }
            if batch.read == 0 {
                return Ok(());
            }
            if !self.args.dry_run {
                tokio::select! {
                    () = sleep(pace.rest(began, sent, Instant::now())) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    /// The next letters, at most `most` of them to send.
    fn read(&mut self, most: usize) -> Result<Batch> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.read < READ as u64 && batch.records.len() < most && bytes < READ_BYTES {
            let Some(letter) = self.letters.next()? else { break };
            bytes += letter.record.size();
            let (place, offset) = (letter.place(), letter.record.offset);
            if let Err(stuck) = self.choose(letter, &mut batch) {
                batch.stuck = Some(stuck);
                break;
            }
            batch.places.insert(place.partition, offset + 1);
            batch.read += 1;
        }
        Ok(batch)
    }

    /// Puts the letter to those to send, or counts why not.
    ///
    /// # Errors
    /// When its topic is not there, which somebody can mend: the replay ends before it.
    fn choose(&mut self, letter: Letter, batch: &mut Batch) -> Result<()> {
        if !self.args.filter.takes(&letter) {
            self.summary.passed_over += 1;
            return Ok(());
        }
        let (address, place) = (letter.address(), letter.place());
        let place = format!("{}:{}", place.partition, place.offset);
        let Some(record) = letter.replayed(self.args.to.as_deref(), &self.topics) else {
            self.summary.skip("the header original-topic is missing".to_owned(), place);
            return Ok(());
        };
        if record.topic == self.args.topic {
            self.summary.skip("it came from this very topic".to_owned(), place);
            return Ok(());
        }
        topics::takes_letters(&record.topic, &self.topics, self.args.cluster.bootstrap()).with_context(|| {
            format!("{address} came from a topic that is not there (make it, give --to, or choose others with --original-topic and `--group {}`, which remembers what was sent); what is before it is done", self.summary.group)
        })?;
        if self.args.dry_run {
            let (to, partition) = (record.topic.clone(), record.partition);
            let step = Step { from: address, to, partition };
            match self.args.output {
                Format::Table => println!("{step}"),
                _ => self.summary.plan.push(step),
            }
        }
        batch.records.push((place, record));
        Ok(())
    }

    /// Sends the records; returns when the brokers have them, or refuse them for good.
    async fn settle(&mut self, records: Vec<(String, OutRecord)>) -> Result<()> {
        let (places, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let outcomes = match &self.sink {
            None => records.iter().map(|_| Ok(())).collect(),
            Some(sink) => sink.produce_each(&records).await,
        };
        let mut failed = None;
        for ((record, place), outcome) in records.iter().zip(places).zip(outcomes) {
            match outcome {
                Ok(()) => self.summary.sent(&record.topic),
                Err(error @ Error::Refused { .. }) => self.summary.skip(error.to_string(), place),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::after;
    use tidemill_kafka::Spans;

    #[test]
    fn a_replay_goes_on_after_what_was_replayed() {
        let spans: Spans = [(0, 5..20), (1, 5..20), (2, 5..20), (3, 5..20), (4, 0..0)].into();
        let places = [(1, 8), (2, 3), (3, 20), (4, 9), (7, 1)].into();
        let left: Spans = [(0, 5..20), (1, 8..20), (2, 5..20), (3, 20..20), (4, 0..0)].into();
        assert_eq!(after(spans.clone(), &places), left);
        // It has fewer records than were replayed: they are others.
        assert_eq!(after(spans, &[(1, 21)].into())[&1], 5..20);
    }
}
