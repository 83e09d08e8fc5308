//! `delivery: exactlyOnce`: each record comes out once for who reads what is committed, whatever
//! is killed, stopped or joins in the middle.

use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;
use tidemill_api::Delivery;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    letter::{headers, reason},
    process,
    runner::{Runner, echo, trigger, with},
    tally::Tally,
};
use tidemill_runner::config::Config;

const RECORDS: usize = 30_000;
const PARTITIONS: i32 = 4;
const MIDDLE: u64 = RECORDS as u64 / 5;

async fn scene(test: &str, sleep_ms: &str) -> (Bed, String, String, Config) {
    let bed = Bed::start(test).await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let output = bed.topic("out", PARTITIONS, &[]).await;
    bed.produce(&input, &numbered(RECORDS, 100, PARTITIONS)).await;
    let config = with(echo(&bed, &input, Some(&output)), "SLEEP_MS", sleep_ms);
    (bed, input, output, exactly(config))
}

fn exactly(mut config: Config) -> Config {
    config.plan.output.as_mut().expect("it has an output").delivery = Delivery::ExactlyOnce;
    config
}

async fn in_the_middle(config: &Config) -> Runner {
    let mut runner = Runner::start(config);
    runner.report("a fifth of the work", |report| report.totals.r#in >= MIDDLE).await;
    runner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_again_and_again_repeats_nothing() {
    let (bed, input, output, config) = scene("eos-killed", "20").await;
    for part in 1..4 {
        let mut runner = Runner::start(&config);
        runner.report("some work", |report| report.totals.r#in >= MIDDLE / part).await;
        runner.kill().await;
    }
    assert!(bed.lag(&input, &input).await > 0, "it happened in the middle");
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let tally = Tally::of(&bed.records(&output).await, RECORDS);
    println!("kill -9 of the runner three times under exactlyOnce: {tally}");
    tally.exactly_once();
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_die_and_runners_join_and_leave_and_nothing_is_repeated() {
    let (bed, input, output, config) = scene("eos-rebalance", "40").await;
    let first = in_the_middle(&config).await;
    for function in first.functions() {
        process::signal(function.pid, Signal::SIGKILL);
    }
    let mut second = Runner::start(&config);
    second.report("work after joining", |report| report.totals.r#in > 0).await;
    assert!(bed.lag(&input, &input).await > 0, "it happened in the middle");
    let first = first.stop().await;
    bed.drained(&input, &input).await;
    Tally::of(&bed.records(&output).await, RECORDS).exactly_once();
    let second = second.stop().await;
    assert_eq!(first.r#in + second.r#in, RECORDS as u64, "each counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_stopped_and_comes_back_to_life_is_fenced() {
    let (bed, input, output, config) = scene("eos-zombie", "40").await;
    let first = in_the_middle(&config).await;
    // It does not know that its partitions go to another.
    process::signal(first.pid(), Signal::SIGSTOP);
    let mut second = Runner::start(&config);
    second.report("the work of both", |report| report.totals.r#in >= MIDDLE).await;
    process::signal(first.pid(), Signal::SIGCONT);
    bed.drained(&input, &input).await;
    // The time in which what it had begun would have been committed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Tally::of(&bed.records(&output).await, RECORDS).exactly_once();
    first.kill().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_refused_outputs_and_filtered_records_are_part_of_it() {
    let bed = Bed::start("eos-letters").await;
    let input = bed.topic("in", 1, &[]).await;
    // It takes less than the input has.
    let output = bed.topic("out", 1, &[("max.message.bytes", "2000")]).await;
    let mut records = numbered(100, 50, 1);
    records[20].value = Some("0000020 poison".into());
    records[40].value = Some(numbered(41, 5_000, 1)[40].value.clone().expect("a value"));
    for record in &mut records[60..] {
        record.key = Some("unwanted".into());
    }
    bed.produce(&input, &records).await;
    let mut config = exactly(with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison"));
    trigger(&mut config).filter = vec![json!({"key": [{"anything-but": "unwanted"}]})];
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    assert_eq!(Tally::of(&bed.records(&output).await, 100), Tally { lost: 42, repeated: 0, records: 58 });
    let letters = bed.records(&dead_letters(&input)).await;
    let of = |offset: &str| letters.iter().find(|letter| headers(letter)["original-offset"] == offset);
    assert_eq!(letters.len(), 2);
    assert_eq!(reason(of("40").expect("a letter")).0, "OutputRefused");
    assert!(of("20").is_some());
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered, totals.dropped), (100, 58, 2, 40));
}
