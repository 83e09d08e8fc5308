//! How many records a second a runner works off, beside a bare consumer of the same records in
//! the same run: what counts is the ratio, since both share the machine with the broker.

use crate::programs::Programs;
use std::time::{Duration, Instant};
use tidemill_e2e::{
    bed::{Bed, numbered},
    figures::Figure,
    runner::{Runner, echo, trigger, with},
};
use tidemill_kafka::{
    Connection,
    rdkafka::consumer::{BaseConsumer, Consumer},
};
use tidemill_runner::config::Config;

/// Long enough that the start of a runner, and the first fetches of a consumer, do not count.
const RECORDS: usize = PASSES * PASS;
const PASSES: usize = 3;
const PASS: usize = 1_000_000;
const SIZE: usize = 200;
const PARTITIONS: i32 = 6;
const BATCH: u32 = 1_000;

pub async fn measure() -> Vec<Figure> {
    let bed = Bed::start("throughput").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let output = bed.topic("out", PARTITIONS, &[]).await;
    println!("{RECORDS} records of {SIZE} B, {PARTITIONS} partitions, batches of {BATCH}");
    fill(&bed, &input).await;

    // The first pass warms the broker up.
    bare(&bed, &input).await;
    let bare = bare(&bed, &input).await;
    println!("{:36} {:>12} {:>6}  CPU seconds per 1,000,000; memory", "", "records/s", "ratio");
    println!("{:36} {bare:>12.0} {:>6.2}", "bare consumer", 1.0);

    let quiet = with(echo(&bed, &input, None), "ANSWER", "null");
    let ignores = with(echo(&bed, &input, None), "IGNORE", "1");
    let mut figures = Vec::new();
    let cases = [
        ("runner, function ignores its event", ignores.clone(), 1),
        ("same, concurrency 2", ignores, 2),
        ("runner, no output", quiet.clone(), 1),
        ("runner, no output, concurrency 2", quiet, 2),
        ("runner, echo to an output topic", echo(&bed, &input, Some(&output)), 1),
    ];
    for (index, (name, mut config, concurrency)) in cases.into_iter().enumerate() {
        config.plan.concurrency = concurrency;
        let kafka = trigger(&mut config);
        kafka.batch.max_records = BATCH;
        kafka.group = format!("{}.{index}", kafka.group);
        let (rate, took) = work(&config, RECORDS).await;
        println!("{name:36} {rate:>12.0} {:>6.2}  {took}", rate / bare);
        if index == 0 {
            figures.push(("runner.records_per_second".to_owned(), rate, "1/s", Some(bare)));
            figures.push(("runner.ratio_to_bare_consumer".to_owned(), rate / bare, "", Some(0.4)));
        }
    }
    bed.remove().await;
    figures
}

/// One long pass of a function that reads its event, for `scripts/flamegraph.sh` to look at.
pub async fn profile() {
    let bed = Bed::start("profile").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    fill(&bed, &input).await;
    let mut config = with(echo(&bed, &input, None), "ANSWER", "null");
    trigger(&mut config).batch.max_records = BATCH;
    let (rate, took) = work(&config, RECORDS).await;
    println!("{rate:.0} records/s, {took}");
    bed.remove().await;
}

async fn fill(bed: &Bed, topic: &str) {
    let records = numbered(PASS, SIZE, PARTITIONS);
    for _ in 0..PASSES {
        bed.produce(topic, &records).await;
    }
}

async fn bare(bed: &Bed, topic: &str) -> f64 {
    let (connection, topic) = (bed.connection.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || consume(&connection, &topic)).await.expect("it does not panic")
}

/// Records a second of a consumer that only counts, from the first record that it gets to the last.
fn consume(connection: &Connection, topic: &str) -> f64 {
    let consumer: BaseConsumer = connection
        .client_config()
        .set("group.id", format!("{topic}.bare"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).expect("a topic");
    let mut first = None;
    let mut count = 0;
    while count < RECORDS {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            message.expect("the broker gives records");
            first.get_or_insert_with(Instant::now);
            count += 1;
        }
    }
    RECORDS as f64 / first.expect("records came").elapsed().as_secs_f64()
}

/// Records a second between the runner's first report of work and its last; what it, its functions
/// and the broker took for them.
async fn work(config: &Config, records: usize) -> (f64, String) {
    let mut runner = Runner::start(config);
    let before = runner.report("work", |report| report.totals.r#in > 0).await.totals;
    let programs = Programs::of(&runner);
    let started = Instant::now();
    let after = runner.report("all the work", |report| report.totals.r#in >= records as u64).await.totals;
    let elapsed = started.elapsed().as_secs_f64();
    let done = (after.r#in - before.r#in) as f64;
    // What is left to one, for each of `concurrency`, is the time in which the function waits for its next event.
    let busy = (after.busy_seconds - before.busy_seconds) / elapsed;
    let took = format!("{}; function at work {busy:.2}; {}", programs.took(done), programs.memory());
    runner.stop().await;
    (done / elapsed, took)
}
