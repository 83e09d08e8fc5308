//! `delivery: exactlyOnce`: each record comes out once for who reads what is committed, whatever
//! is killed, stopped or joins in the middle.

use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered, value},
    letter::{headers, reason},
    process,
    runner::{Runner, echo, exactly_once, trigger, with},
    scene::Scene,
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_runner::record::Record;

const RECORDS: usize = 30_000;
const PARTITIONS: i32 = 4;
/// What the client calls the error of a function that returns a boxed one.
const FAILED: &str = "&alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>";
const MIDDLE: u64 = RECORDS as u64 / 5;

async fn scene(test: &str, sleep_ms: &str) -> Scene {
    let mut scene = Scene::set(test, PARTITIONS).await;
    scene.fill(&numbered(RECORDS, 100, PARTITIONS), sleep_ms).await;
    scene.config = exactly_once(scene.config);
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_killed_again_and_again_repeats_nothing() {
    let Scene { bed, input, output, config, .. } = scene("eos-killed", "20").await;
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
    let scene = scene("eos-rebalance", "40").await;
    let first = scene.in_the_middle(MIDDLE).await;
    let Scene { bed, input, output, config, .. } = scene;
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
    let mut scene = scene("eos-zombie", "40").await;
    // What it has in work is not too late when it comes back.
    scene.config.plan.timeout = Duration::from_secs(300);
    let first = scene.in_the_middle(MIDDLE).await;
    let Scene { bed, input, output, config, .. } = scene;
    // It has an invocation in flight, and does not know that its partitions go to another.
    let functions = first.functions();
    let all = |signal| functions.iter().for_each(|function| process::signal(function.pid, signal));
    all(Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    process::signal(first.pid(), Signal::SIGSTOP);
    all(Signal::SIGCONT);
    let refused =
        || ["the partition has another owner", "transaction aborted"].map(|said| first.log().matches(said).count());
    assert_eq!(refused(), [0, 0], "nothing was refused before");
    let mut second = Runner::start(&config);
    second.report("the work of both", |report| report.totals.r#in >= MIDDLE).await;
    process::signal(first.pid(), Signal::SIGCONT);
    until("what it had in work to be refused", PATIENCE, async || (refused() != [0, 0]).then_some(())).await;
    println!("fenced and aborted: {:?}", refused());
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
    let mut config = exactly_once(with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_its_topic_refuses_holds_its_partition_alone_until_it_fits() {
    let bed = Bed::start("eos-refused").await;
    let input = bed.unique("in");
    bed.make(&input, 2, &[]).await;
    bed.make(&dead_letters(&input), 2, &[("max.message.bytes", "2000"), ("compression.type", "uncompressed")]).await;
    let output = bed.topic("out", 2, &[]).await;
    let mut records = numbered(200, 100, 2);
    let poison =
        Record { value: Some([b"poison ".as_slice(), &value(100, 5_000)].concat().into()), ..records[100].clone() };
    records[100] = poison;
    bed.produce(&input, &records).await;
    let mut config = exactly_once(with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison"));
    trigger(&mut config).batch.max_records = 10;
    let mut runner = Runner::start(&config);
    until("the partition to be held", PATIENCE, async || {
        let (_, metrics) = runner.admin("/metrics").await;
        metrics.contains("tidemill_runner_partition_holds_total 1").then_some(())
    })
    .await;
    // 50 records are before it, 100 are in the other partition; those behind it wait.
    until("the records not behind it", PATIENCE, async || (bed.records(&output).await.len() >= 150).then_some(()))
        .await;
    assert_eq!(Tally::of(&bed.records(&output).await, 200), Tally { lost: 50, repeated: 0, records: 150 });
    assert!(runner.has_ended().is_none(), "{}", runner.log());

    bed.configure(&dead_letters(&input), "max.message.bytes", "100000").await;
    bed.drained(&input, &input).await;
    assert_eq!(Tally::of(&bed.records(&output).await, 200), Tally { lost: 1, repeated: 0, records: 199 });
    let letters = bed.records(&dead_letters(&input)).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value, records[100].value);
    assert_eq!(reason(&letters[0]).0, FAILED, "its letter says why it failed");
    runner.stop().await;
}
