//! Real Kafka, real processes, 100,000 records: what reaches the output topic when nothing
//! fails, and when processes are killed, stopped and joined in the middle.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tidemill_api::Backoff;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    process,
    runner::{Runner, echo, with},
    scene::Scene,
    tally::Tally,
    wait::until,
};
use tidemill_runner::record::Record;

const RECORDS: usize = 100_000;
const SIZE: usize = 200;
const PARTITIONS: i32 = 6;
/// A fifth: the work is under way, and most of it is still to come.
const MIDDLE: u64 = RECORDS as u64 / 5;

async fn scene(test: &str, sleep_ms: &str) -> Scene {
    let mut scene = Scene::set(test, PARTITIONS).await;
    scene.fill(&numbered(RECORDS, SIZE, PARTITIONS), sleep_ms).await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_failure_each_record_comes_out_once() {
    let scene = scene("calm", "0").await;
    let runner = Runner::start(&scene.config);
    scene.tally_of_good(RECORDS).await.exactly_once();
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_runner_loses_nothing() {
    let scene = scene("killed-runner", "30").await;
    scene.in_the_middle(MIDDLE).await.kill().await;
    scene.is_half_done().await;
    let runner = Runner::start(&scene.config);
    let tally = scene.tally_of_good(RECORDS).await;
    tally.none_lost();
    println!("kill -9 of the runner: {tally}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_function_loses_nothing() {
    let scene = scene("killed-function", "30").await;
    let runner = scene.in_the_middle(MIDDLE).await;
    let functions = runner.functions();
    assert_eq!(functions.len(), 1, "{functions:?}");
    process::signal(functions[0].pid, Signal::SIGKILL);
    scene.is_half_done().await;
    let tally = scene.tally_of_good(RECORDS).await;
    tally.none_lost();
    println!("kill -9 of the function: {tally}");
    assert_ne!(runner.functions(), functions, "it was started again");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_runner_hands_over_without_repeating() {
    let scene = scene("stopped", "30").await;
    let first = scene.in_the_middle(MIDDLE).await.stop().await;
    scene.is_half_done().await;
    let runner = Runner::start(&scene.config);
    scene.tally_of_good(RECORDS).await.exactly_once();
    let second = runner.stop().await;
    assert_eq!(first.r#in + second.r#in, RECORDS as u64, "what the first had done, the second did not do again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_join_and_leave_without_repeating() {
    let scene = scene("rebalance", "100").await;
    let first = scene.in_the_middle(MIDDLE).await;
    let mut second = Runner::start(&scene.config);
    second.report("work after joining", |report| report.totals.r#in > 0).await;
    scene.is_half_done().await;
    let first = first.stop().await;
    scene.is_half_done().await;
    scene.tally_of_good(RECORDS).await.exactly_once();
    let second = second.stop().await;
    assert_eq!(first.r#in + second.r#in, RECORDS as u64);
    println!("of {RECORDS} records, the second runner did {}", second.r#in);
}

/// What is done of a batch is not done again because a record of it rests when the runner stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_a_record_rests_repeats_nothing_of_its_batch() {
    const RECORDS: usize = 100;
    let bed = Bed::start("stop-resting").await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    let mut records = numbered(RECORDS, 50, 1);
    records[RECORDS - 1].value = Some(format!("{:07} poison", RECORDS - 1).into());
    bed.produce(&input, &records).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "REPORT_ON", "poison");
    let minute = tidemill_api::Duration::from_secs(60);
    config.plan.retry.attempts = 2;
    config.plan.retry.backoff = Backoff { initial: minute, max: minute };
    for _ in 0..2 {
        let runner = Runner::start(&config);
        let resting = async || runner.log().contains("attempt failed, will retry").then_some(());
        until("the record to rest", Duration::from_secs(30), resting).await;
        runner.stop().await;
        assert_eq!(bed.lag(&input, &input).await, 1, "the others are committed");
    }
    config.plan.retry.attempts = 1;
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let tally = Tally::of(&bed.records(&output).await, RECORDS);
    assert_eq!(tally, Tally { lost: 1, repeated: 0, records: RECORDS - 1 });
    assert_eq!(bed.records(&dead_letters(&input)).await.len(), 1);
    runner.stop().await;
}

/// librdkafka has one fetch under way for each broker: one that asks only for partitions without
/// records must not hold up those that have some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_in_one_partition_is_not_held_up_by_those_that_have_none() {
    const BACKLOG: usize = 200_000;
    let bed = Bed::start("backlog").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let records: Vec<Record> =
        numbered(BACKLOG, SIZE, 1).into_iter().map(|record| Record { partition: 2, ..record }).collect();
    bed.produce(&input, &records).await;
    let config = with(echo(&bed, &input, None), "IGNORE", "1");
    let mut runner = Runner::start(&config);
    let before = runner.report("work", |report| report.totals.r#in > 0).await.totals.r#in;
    let started = Instant::now();
    let done = runner.report("all", |report| report.totals.r#in >= BACKLOG as u64).await.totals.r#in;
    let rate = (done - before) as f64 / started.elapsed().as_secs_f64();
    // Of fetches that wait for half a second there are two in a second, for a few thousand records.
    assert!(rate > 15_000.0, "{rate:.0} records/s");
    runner.stop().await;
}
