//! When a batch is handed over: once it has as many records or bytes as it may, or its window has passed.
//! And which of them share an invocation.

use nix::sys::signal::Signal;
use std::{collections::BTreeMap, time::Duration};
use tidemill_api::{Backoff, ByteSize, Duration as Span, Ordering};
use tidemill_e2e::{
    bed::{numbered, value},
    process,
    runner::{Runner, trigger, with},
    scene::Scene,
    tally::{Tally, number},
};
use tidemill_runner::{config::Config, record::Record};
use tokio::time::sleep;

/// Longer than any test waits.
const FOR_EVER: Span = Span::from_secs(300);

/// A scene whose outputs tell the number of the event that they come from.
async fn scene(test: &str, batch: impl FnOnce(&mut tidemill_api::Batch)) -> (Scene, Config) {
    scene_of(test, 1, batch).await
}

/// The same with more partitions.
async fn scene_of(test: &str, partitions: i32, batch: impl FnOnce(&mut tidemill_api::Batch)) -> (Scene, Config) {
    let scene = Scene::set(test, partitions).await;
    let mut config = with(scene.config.clone(), "TELL_CONTEXT", "true");
    batch(&mut trigger(&mut config).batch);
    (scene, config)
}

/// The number of the event that a record comes from.
fn event(record: &Record) -> usize {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "event").expect("the function tells it");
    let text = std::str::from_utf8(value.as_deref().expect("a value")).expect("text");
    text.parse().expect("a number")
}

/// How many records each event had, in the order of the events.
fn sizes(records: &[Record]) -> Vec<usize> {
    let mut sizes = Vec::new();
    for number in records.iter().map(event) {
        sizes.resize(sizes.len().max(number), 0);
        sizes[number - 1] += 1;
    }
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_begins_with_its_first_record_and_takes_those_that_come_meanwhile() {
    let window = Duration::from_secs(4);
    let (scene, config) = scene("window", |batch| batch.window = Span::from_secs(4)).await;
    let runner = Runner::start(&config);
    let records = numbered(30, 50, 1);
    // It is on an empty topic for longer than its window.
    sleep(window).await;
    // Without end, as seen from the first window: one that began anew with each would have them all.
    for record in records.chunks(1) {
        scene.bed.produce(&scene.input, record).await;
        sleep(window / 10).await;
    }
    let came = scene.outputs().await;
    let sizes = sizes(&came);
    assert!(sizes[0] > 1 && sizes.len() > 1, "some in the first event, and not all: {sizes:?}");
    let sent = scene.bed.records(&scene.input).await[0].timestamp;
    let waited = came[0].timestamp - sent;
    assert!(waited > 3_900, "the first record waited {waited} ms");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_does_not_wait_for_its_window_once_it_has_its_records() {
    let (scene, config) = scene("count", |batch| (batch.max_records, batch.window) = (4, FOR_EVER)).await;
    scene.bed.produce(&scene.input, &numbered(8, 50, 1)).await;
    let runner = Runner::start(&config);
    assert_eq!(sizes(&scene.outputs().await), [4, 4]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_once_it_has_its_bytes_in_which_keys_count() {
    let kilobyte: ByteSize = "1KiB".parse().expect("a size");
    let (scene, config) = scene("bytes", |batch| (batch.max_bytes, batch.window) = (kilobyte, FOR_EVER)).await;
    // Three values fit, and with their keys of 100 B two records do.
    let records: Vec<_> =
        numbered(7, 300, 1).into_iter().map(|record| Record { key: Some("k".repeat(100).into()), ..record }).collect();
    scene.bed.produce(&scene.input, &records).await;
    let runner = Runner::start(&config);
    // The last one waits for its window.
    assert_eq!(sizes(&scene.bed.records_when(&scene.output, 6).await), [2, 2, 2]);
    runner.stop().await;
}

const PARTITIONS: i32 = 4;

/// A scene of four partitions whose batches may share an invocation.
async fn shared(test: &str, max_records: u32, window: Span) -> (Scene, Config) {
    scene_of(test, PARTITIONS, |batch| {
        (batch.max_records, batch.window, batch.span_partitions) = (max_records, window, true);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_share_an_event_when_the_window_of_one_has_passed() {
    let rounds = 5;
    let (scene, config) = shared("shared-window", 100, Span::from_secs(2)).await;
    let runner = Runner::start(&config);
    let records = numbered(40, 50, PARTITIONS);
    for (round, records) in records.chunks(40 / rounds).enumerate() {
        scene.bed.produce(&scene.input, records).await;
        scene.bed.records_when(&scene.output, 8 * (round + 1)).await;
    }
    let came = scene.outputs().await;
    Tally::of(&came, 40).exactly_once();
    let sizes = sizes(&came);
    // One for each partition and round, if they were not shared.
    assert!(sizes.len() < 2 * rounds, "events of {sizes:?} records");
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.invocations), (40, sizes.len() as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_do_not_wait_for_a_window_once_they_have_the_records_of_an_event_together() {
    let (scene, config) = shared("shared-count", 8, FOR_EVER).await;
    let runner = Runner::start(&config);
    scene.bed.produce(&scene.input, &numbered(8, 50, PARTITIONS)).await;
    let came = scene.bed.records_when(&scene.output, 8).await;
    Tally::of(&came, 8).exactly_once();
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_do_partitions_of_several_topics() {
    let (scene, mut config) = shared("shared-topics", 8, FOR_EVER).await;
    let other = scene.bed.topic("other", 1, &[]).await;
    trigger(&mut config).topics.push(other.clone());
    let runner = Runner::start(&config);
    let records = numbered(8, 50, PARTITIONS);
    let (some, others) = records.split_at(4);
    scene.bed.produce(&scene.input, some).await;
    let others: Vec<_> = others.iter().map(|record| Record { partition: 0, ..record.clone() }).collect();
    scene.bed.produce(&other, &others).await;
    let came = scene.bed.records_when(&scene.output, 8).await;
    Tally::of(&came, 8).exactly_once();
    // Neither topic has enough for an event by itself, and their windows do not pass.
    assert!(sizes(&came).iter().any(|size| *size > 4), "{:?}", sizes(&came));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_that_a_function_on_several_topics_has_events_of_each() {
    let (scene, mut config) = scene("topics", |batch| (batch.max_records, batch.window) = (4, FOR_EVER)).await;
    let other = scene.bed.topic("other", 1, &[]).await;
    trigger(&mut config).topics.push(other.clone());
    let records = numbered(16, 50, 1);
    let (some, others) = records.split_at(8);
    scene.bed.produce(&scene.input, some).await;
    scene.bed.produce(&other, others).await;
    let runner = Runner::start(&config);
    scene.bed.drained(&scene.input, &other).await;
    let came = scene.outputs().await;
    Tally::of(&came, 16).exactly_once();
    assert_eq!(sizes(&came), [4; 4]);
    let mut topics = BTreeMap::new();
    for record in &came {
        let topic = number(record) / 8;
        assert_eq!(*topics.entry(event(record)).or_insert(topic), topic, "an event has records of one topic");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_no_more_records_than_it_may_of_however_many_partitions() {
    let (scene, config) = shared("shared-limit", 10, Span::from_secs(1)).await;
    scene.bed.produce(&scene.input, &numbered(16, 50, PARTITIONS)).await;
    let runner = Runner::start(&with(config, "SLEEP_MS", "300"));
    let came = scene.outputs().await;
    Tally::of(&came, 16).exactly_once();
    let sizes = sizes(&came);
    // Each partition has four: two of them fit.
    assert!(sizes.iter().all(|size| *size <= 10) && sizes.len() < 4, "{sizes:?}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_fails_costs_the_other_partitions_of_its_event_no_pause() {
    for how in ["FAIL_ON", "EXIT_ON", "SLEEP_ON", "BIG_ON", "REPORT_ON"] {
        let (scene, config) = shared(&format!("shared-{}", how.to_lowercase()), 8, FOR_EVER).await;
        let mut config = with(config, how, "poison");
        if how == "SLEEP_ON" {
            config = with(config, "SLEEP_MS", "60000");
            config.plan.timeout = Duration::from_secs(2);
        }
        config.plan.retry.attempts = 2;
        config.plan.retry.backoff = Backoff { initial: FOR_EVER, max: FOR_EVER };
        let mut records = numbered(8, 50, PARTITIONS);
        records[4].value = Some("0000004 poison".into());
        let runner = Runner::start(&config);
        scene.bed.produce(&scene.input, &records).await;
        // Of the poison's partition two records rest, or where it is named only that.
        let done = if how == "REPORT_ON" { 7 } else { 6 };
        let came = scene.bed.records_when(&scene.output, done).await;
        let tally = Tally::of(&came, 8);
        assert_eq!((tally.lost, tally.repeated), (8 - done, 0), "{how}: {tally}");
        assert_eq!(failed_together(&runner), how != "REPORT_ON", "{how}: {}", runner.log());
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_partition_whose_output_is_refused_has_dead_letters() {
    let (scene, mut config) = shared("shared-refused", 8, FOR_EVER).await;
    scene.bed.configure(&scene.output, "max.message.bytes", "20000").await;
    // It costs what is refused with it: that is the partition's, and nobody else's.
    (config.plan.retry.attempts, config.plan.retry.bisect) = (1, false);
    let mut records = numbered(8, 50, PARTITIONS);
    records[4].value = Some(value(4, 30_000).into());
    let runner = Runner::start(&config);
    scene.bed.produce(&scene.input, &records).await;
    let tally = scene.tally(8).await;
    let letters = scene.letters().await;
    let dead = |letter: &Record| letter.value.as_ref().map(|value| value[..7].to_vec());
    let dead: Vec<Vec<u8>> = letters.iter().filter_map(dead).collect();
    // The other record of that partition may have come out beside its letter.
    assert!((1..=2).contains(&tally.lost), "{tally}");
    assert_eq!(dead, [b"0000000", b"0000004"], "{letters:?}");
    assert!(failed_together(&runner), "{}", runner.log());
    println!("an output is refused: {tally}");
    runner.stop().await;
}

/// Whether what came of each partition is in its order, as far as outputs' own partitions tell.
fn are_in_order(records: &[Record]) -> bool {
    let mut records: Vec<_> = records.iter().collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    let mut last = BTreeMap::new();
    records.into_iter().all(|record| {
        let number = number(record);
        // Which partition it is of: `numbered` goes round.
        let line = (record.partition, number % PARTITIONS as usize);
        last.insert(line, number).is_none_or(|before| before < number)
    })
}

/// Whether an event of several partitions was given up for one of each.
fn failed_together(runner: &Runner) -> bool {
    runner.log().contains("a shared invocation failed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_move_repeat_nothing_of_events_that_are_shared() {
    const RECORDS: usize = 8_000;
    for (ordering, concurrency) in [(Ordering::Partition, 1), (Ordering::Key, 3), (Ordering::None, 3)] {
        let (scene, mut config) = shared(&format!("shared-moves-{ordering:?}"), 100, Span::from_millis(100)).await;
        trigger(&mut config).ordering = ordering;
        config.plan.concurrency = concurrency;
        let config = with(config, "SLEEP_MS", "80");
        let moves = async {
            let mut first = Runner::start(&config);
            first.report("work", |report| report.totals.r#in > RECORDS as u64 / 8).await;
            let mut second = Runner::start(&config);
            second.report("work after joining", |report| report.totals.r#in > RECORDS as u64 / 8).await;
            let third = Runner::start(&config);
            let done = first.stop().await;
            (done, second, third)
        };
        let records = numbered(RECORDS, 50, PARTITIONS);
        let ((), (done, second, third)) = tokio::join!(scene.bed.feed(&scene.input, &records, 1_000), moves);
        let came = scene.outputs().await;
        Tally::of(&came, RECORDS).exactly_once();
        assert!(ordering != Ordering::Partition || are_in_order(&came), "an event had records in another order");
        println!("{ordering:?}: {} records in {} events of the first runner", done.answered, done.invocations);
        second.stop().await;
        third.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_loses_nothing_of_events_that_are_shared() {
    const RECORDS: usize = 12_000;
    let (scene, config) = shared("shared-killed", 100, Span::from_millis(50)).await;
    let config = with(config, "SLEEP_MS", "10");
    let records = numbered(RECORDS, 50, PARTITIONS);
    let faults = async {
        let mut runner = Runner::start(&config);
        runner.report("a quarter of the work", |report| report.totals.r#in > RECORDS as u64 / 4).await;
        for function in runner.functions() {
            process::signal(function.pid, Signal::SIGKILL);
        }
        runner.report("half of the work", |report| report.totals.r#in > RECORDS as u64 / 2).await;
        let totals = runner.kill().await;
        (totals, Runner::start(&config))
    };
    let ((), (totals, runner)) = tokio::join!(scene.bed.feed(&scene.input, &records, 1_000), faults);
    println!("{} records in {} events until the runner was killed", totals.answered, totals.invocations);
    let tally = scene.tally(RECORDS).await;
    tally.none_lost();
    println!("function and runner killed: {tally}");
    runner.stop().await;
}
