//! `ticks`: feeds Kafka, or standard output, with made-up trades. It ends when the count is
//! reached or it is told to, after everything it sent has been acknowledged.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use futures::FutureExt;
use serde_json::json;
use tidemill_contract::PriceTickEvent;
use tidemill_kafka::Connection;
use tidemill_kafka::rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidemill_kafka::rdkafka::producer::future_producer::DeliveryFuture;
use tidemill_kafka::rdkafka::producer::{FutureProducer, FutureRecord};
use tidemill_loadtest::feed::Feed;
use tokio::signal::unix::{SignalKind, signal};

/// Feeds Kafka with made-up trades.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Kafka's bootstrap servers
    #[arg(long, env = "KAFKA_BOOTSTRAP", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// The topic to produce to
    #[arg(long, default_value = "price-ticks")]
    topic: String,
    /// Trades per second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Stop after so many; without it, run until told to stop
    #[arg(long)]
    count: Option<u64>,
    /// The same seed gives the same prices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Event time of the first trade; without it, trades carry the time they are sent
    #[arg(long)]
    start_time: Option<DateTime<Utc>>,
    /// Seconds of event time that pass in one second
    #[arg(long, default_value_t = 1.0, requires = "start_time")]
    speed: f64,
    /// `-`: write one JSON record a line to standard output instead of Kafka
    #[arg(long, value_parser = ["-"])]
    output: Option<String>,
}

/// Trades on the way to Kafka, at most.
const IN_FLIGHT: usize = 10_000;
/// Trades that fall due sooner than this one after another are sent together.
const STEP: Duration = Duration::from_millis(5);

enum Sink {
    Lines { out: std::io::Stdout, topic: String },
    Kafka { producer: FutureProducer, topic: String, in_flight: VecDeque<DeliveryFuture> },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    Args::parse().run().await
}

impl Args {
    async fn run(self) -> anyhow::Result<()> {
        ensure!(self.rate > 0.0, "--rate must be above zero");
        ensure!(self.speed > 0.0, "--speed must be above zero");
        let mut sink = self.sink()?;
        let mut feed = Feed::new(self.seed);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut steps = tokio::time::interval(STEP.max(Duration::from_secs_f64(1.0 / self.rate)));
        let (begin, count) = (Instant::now(), self.count.unwrap_or(u64::MAX));
        let mut sent = 0;
        while sent < count {
            tokio::select! {
                _ = steps.tick() => {}
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
            let due = (begin.elapsed().as_secs_f64() * self.rate) as u64 + 1;
            while sent < due.min(count) {
                sink.send(&feed.deliver(self.event_time(sent)?)).await?;
                sent += 1;
            }
        }
        sink.finish().await
    }

    fn event_time(&self, sent: u64) -> anyhow::Result<DateTime<Utc>> {
        let Some(start) = self.start_time else { return Ok(Utc::now()) };
        let since = sent as f64 * self.speed / self.rate;
        let since = TimeDelta::milliseconds((since * 1e3) as i64);
        start.checked_add_signed(since).context("event time is beyond the calendar")
    }

    fn sink(&self) -> anyhow::Result<Sink> {
        if self.output.is_some() {
            return Ok(Sink::Lines { out: std::io::stdout(), topic: self.topic.clone() });
        }
        let producer = Connection::plaintext(&self.bootstrap)
            .producer()
            .with_context(|| format!("failed to set up a producer for {}", self.bootstrap))?;
        Ok(Sink::Kafka { producer, topic: self.topic.clone(), in_flight: VecDeque::new() })
    }
}

impl Sink {
    async fn send(&mut self, tick: &PriceTickEvent) -> anyhow::Result<()> {
        match self {
            Self::Lines { out, topic } => {
                let record = json!({"topic": topic, "key": tick.symbol, "value": tick});
                match writeln!(out, "{record}") {
                    // Whoever read the lines has had enough of them.
                    Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
                    result => result.context("failed to write to standard output"),
                }
            }
            Self::Kafka { producer, topic, in_flight } => {
                let value = serde_json::to_string(tick)?;
                loop {
                    let record = FutureRecord::to(topic).key(&tick.symbol).payload(&value);
                    match producer.send_result(record) {
                        Ok(delivery) => in_flight.push_back(delivery),
                        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                            tokio::time::sleep(STEP).await;
                            continue;
                        }
                        Err((error, _)) => return Err(error).context("failed to produce"),
                    }
                    break;
                }
                // A refusal is to be heard of soon, and what is acknowledged to be forgotten.
                let mut full = in_flight.len() > IN_FLIGHT;
                while let Some(oldest) = in_flight.front_mut() {
                    let settled = if std::mem::take(&mut full) { Some(oldest.await) } else { oldest.now_or_never() };
                    let Some(settled) = settled else { break };
                    in_flight.pop_front();
                    acknowledged(settled)?;
                }
                Ok(())
            }
        }
    }

    async fn finish(self) -> anyhow::Result<()> {
        if let Self::Kafka { in_flight, .. } = self {
            for delivery in in_flight {
                acknowledged(delivery.await)?;
            }
        }
        Ok(())
    }
}

fn acknowledged(settled: <DeliveryFuture as Future>::Output) -> anyhow::Result<()> {
    match settled {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error).context("a trade was not acknowledged"),
        Err(_) => bail!("the producer stopped before a trade was acknowledged"),
    }
}
