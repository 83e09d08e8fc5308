//! How many records a second a runner works off, beside a bare consumer of the same records in
//! the same run: what counts is the ratio, since both share the machine with the broker.

use crate::programs::{Programs, median};
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
const PASSES: usize = 6;
const PASS: usize = 1_000_000;
/// Of one partition among others that have none, so often.
const HOT: usize = 3 * PASS;
const HOT_ROUNDS: usize = 3;
const SIZE: usize = 200;
const PARTITIONS: i32 = 6;
const BATCH: u32 = 1_000;
/// What is held against the bare consumer runs so often, each time beside it: the machine's own speed differs from
/// minute to minute.
const ROUNDS: usize = 5;

/// A function, and what it reached.
struct Case {
    name: &'static str,
    config: Config,
    records: usize,
    rates: Vec<f64>,
    ratios: Vec<f64>,
}

pub async fn measure() -> Vec<Figure> {
    let bed = Bed::start("throughput").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let output = bed.topic("out", PARTITIONS, &[]).await;
    println!("{RECORDS} records of {SIZE} B, {PARTITIONS} partitions, batches of {BATCH}");
    fill(&bed, &input).await;

    let case = |name, config: &Config, concurrency| {
        let mut config = config.clone();
        config.plan.concurrency = concurrency;
        trigger(&mut config).batch.max_records = BATCH;
        Case { name, config, records: RECORDS, rates: Vec::new(), ratios: Vec::new() }
    };
    let ignores = with(echo(&bed, &input, None), "IGNORE", "1");
    let mut held = [case("function ignores its event", &ignores, 1), case("same, concurrency 2", &ignores, 2)];
    // The first of each warms the broker up.
    bare(&bed, &input).await;
    held[0].work("warm").await;
    println!("{:28} {:>12} {:>6}  CPU seconds per 1,000,000; memory", "", "records/s", "ratio");
    let mut references = Vec::new();
    for round in 0..ROUNDS {
        let reference = bare(&bed, &input).await;
        println!("{:28} {reference:>12.0} {:>6.2}", "bare consumer", 1.0);
        references.push(reference);
        // Each of them is the first after the bare consumer as often.
        for place in 0..held.len() {
            let case = &mut held[(round + place) % held.len()];
            case.run(&format!("{}.{round}", case.config.plan.concurrency), reference).await;
        }
    }
    let reference = median(references);
    println!("the middle of {ROUNDS} rounds:\n{:28} {reference:>12.0} {:>6.2}", "bare consumer", 1.0);
    let middles = held.each_ref().map(|case| (median(case.rates.clone()), median(case.ratios.clone())));
    for (case, (rate, ratio)) in held.iter().zip(middles) {
        println!("{:28} {rate:>12.0} {ratio:>6.2}", case.name);
    }
    println!("once, beside that middle:");
    let reads = with(echo(&bed, &input, None), "ANSWER", "null");
    let answers = echo(&bed, &input, Some(&output));
    let once = [
        case("reads it, no output", &reads, 1),
        case("same, concurrency 2", &reads, 2),
        case("echo to an output topic", &answers, 1),
    ];
    for (place, mut case) in once.into_iter().enumerate() {
        case.run(&format!("once.{place}"), reference).await;
    }
    let hot = bed.topic("hot", PARTITIONS, &[]).await;
    let records = numbered(PASS, SIZE, 1);
    for _ in 0..HOT / PASS {
        bed.produce(&hot, &records).await;
    }
    let mut one = case("all in one partition of six", &with(echo(&bed, &hot, None), "IGNORE", "1"), 1);
    one.records = HOT;
    for round in 0..HOT_ROUNDS {
        one.run(&format!("one.{round}"), reference).await;
    }
    bed.remove().await;
    let [(rate, ratio), _] = middles;
    vec![
        ("runner.records_per_second".to_owned(), rate, "1/s", Some(reference)),
        ("runner.ratio_to_bare_consumer".to_owned(), ratio, "", Some(0.4)),
        ("runner.one_partition_records_per_second".to_owned(), median(one.rates), "1/s", Some(reference)),
    ]
}

impl Case {
    /// Runs it in a new group, and prints what it reached beside the bare consumer.
    async fn run(&mut self, group: &str, reference: f64) {
        let (rate, took) = self.work(group).await;
        println!("{:28} {rate:>12.0} {:>6.2}  {took}", self.name, rate / reference);
        self.rates.push(rate);
        self.ratios.push(rate / reference);
    }

    /// Records a second, and what took how much for them.
    async fn work(&self, group: &str) -> (f64, String) {
        let mut config = self.config.clone();
        let kafka = trigger(&mut config);
        kafka.group = format!("{}.{group}", kafka.group);
        work(&config, self.records).await
    }
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
    let started = Instant::now();
    let programs = Programs::of(&runner);
    let after = runner.report("all the work", |report| report.totals.r#in >= records as u64).await.totals;
    let elapsed = started.elapsed().as_secs_f64();
    let done = (after.r#in - before.r#in) as f64;
    // What is left to one, for each of `concurrency`, is the time in which the function waits for its next event.
    let busy = (after.busy_seconds - before.busy_seconds) / elapsed;
    let took = format!("{}; function at work {busy:.2}; {}", programs.took(done), programs.memory());
    runner.stop().await;
    (done / elapsed, took)
}
