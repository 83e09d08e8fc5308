//! From the producer's send through a function to a consumer of the output topic, at 1,000 records
//! a second and a window of zero; beside it, the same from topic to consumer without a function.

use crate::programs::median;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_e2e::{
    bed::Bed,
    figures::Figure,
    runner::{Runner, echo, trigger},
};
use tidemill_kafka::{
    Connection,
    rdkafka::{
        Message, Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer},
        producer::{BaseProducer, BaseRecord, Producer},
    },
};

const PER_SECOND: u32 = 1_000;
const SECONDS: u32 = 10;
/// What is sent first is not counted: connections are opened meanwhile.
const WARM: usize = 2_000;
/// Each with and without a function: the machine is another one from minute to minute. What counts is the middle.
const ROUNDS: usize = 5;

pub async fn measure() -> Vec<Figure> {
    let bed = Bed::start("latency").await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    let mut config = echo(&bed, &input, Some(&output));
    trigger(&mut config).batch.window = tidemill_api::Duration::from_secs(0);
    trigger(&mut config).group = format!("{input}.group");
    let mut runner = Runner::start(&config);
    // A broker that has just been started compiles what it runs.
    run(&bed.connection, &input, &output).await;
    let (mut plain, mut through) = (Vec::new(), Vec::new());
    println!(
        "{PER_SECOND} records a second, window 0, milliseconds from send to receipt: p50, p99; without a function"
    );
    for _ in 0..ROUNDS {
        // What is sent goes through the function either way, so that the machine has as much to do.
        let (with, without) = (run(&bed.connection, &input, &output).await, run(&bed.connection, &input, &input).await);
        println!("  {:6.2} {:6.2}; {:6.2} {:6.2}", with.0, with.1, without.0, without.1);
        through.push(with);
        plain.push(without);
    }
    runner.report("all of it", |report| report.totals.r#in >= sent()).await;
    runner.stop().await;
    let middle = |all: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| median(all.iter().map(which).collect());
    let [(p50, p99), (plain50, plain99)] =
        [&through, &plain].map(|all| (middle(all, |round| round.0), middle(all, |round| round.1)));
    println!("  {p50:6.2} {p99:6.2}; {plain50:6.2} {plain99:6.2}  the middle of {ROUNDS} rounds");
    vec![("runner.p50_ms".to_owned(), p50, "ms", Some(plain50)), ("runner.p99_ms".to_owned(), p99, "ms", Some(plain99))]
}

/// How many records all rounds send, and the one before them.
fn sent() -> u64 {
    (2 * ROUNDS as u64 + 1) * u64::from(PER_SECOND * SECONDS)
}

/// Median and 99th percentile, in milliseconds.
async fn run(connection: &Connection, input: &str, output: &str) -> (f64, f64) {
    let (connection, input, output) = (connection.clone(), input.to_owned(), output.to_owned());
    tokio::task::spawn_blocking(move || {
        let reader = reader(&connection, &output);
        let sender = std::thread::spawn(move || send(&connection, &input));
        let mut took = Vec::new();
        let count = (PER_SECOND * SECONDS) as usize;
        let started = Instant::now();
        while took.len() < count && started.elapsed() < Duration::from_secs(u64::from(SECONDS) + 30) {
            let Some(message) = reader.poll(Duration::from_millis(100)) else { continue };
            let message = message.expect("the broker gives records");
            let sent: u128 =
                std::str::from_utf8(message.payload().expect("a value")).expect("text").parse().expect("a time");
            took.push((now() - sent) as f64 / 1_000.0);
        }
        sender.join().expect("sending does not panic");
        assert_eq!(took.len(), count, "all came");
        let mut took = took.split_off(WARM);
        took.sort_by(f64::total_cmp);
        (took[took.len() / 2], took[took.len() * 99 / 100])
    })
    .await
    .expect("it does not panic")
}

fn reader(connection: &Connection, topic: &str) -> BaseConsumer {
    let reader = connection.observer(&format!("{topic}.reader")).expect("a consumer");
    let (_, end) = reader.fetch_watermarks(topic, 0, Duration::from_secs(10)).expect("the broker answers");
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(topic, 0, Offset::Offset(end)).expect("an offset");
    reader.assign(&place).expect("it can be assigned");
    reader
}

fn send(connection: &Connection, topic: &str) {
    let producer: BaseProducer = connection.producer_config().set("linger.ms", "0").create().expect("a producer");
    let started = Instant::now();
    for number in 0..PER_SECOND * SECONDS {
        let due = Duration::from_secs(1) * number / PER_SECOND;
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let value = now().to_string();
        producer.send(BaseRecord::<(), _>::to(topic).payload(&value)).map_err(|(error, _)| error).expect("it is taken");
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(10)).expect("all are sent");
}

/// Microseconds since 1970.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_micros()
}
