//! Where a group begins, and how a partition changes hands: nothing skipped, nothing repeated.

use std::time::{Duration, Instant};
use tidemill_api::{ByteSize, Duration as Span, Start};
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered, text},
    letter,
    runner::{Runner, echo, trigger, with},
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_kafka::{Begin, begin_group};
use tidemill_runner::record::Record;

fn poison(count: usize) -> Vec<Record> {
    (0..count).map(|number| text(format!("{number:07} poison"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_now_keeps_its_place_when_its_first_runner_is_killed() {
    let bed = Bed::start("latest-killed").await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    bed.produce(&input, &[text("of old"), text("of old"), text("of old")]).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison");
    trigger(&mut config).start = Start::Latest;
    config.plan.retry.attempts = 10_000;
    let mut first = Runner::start(&config);
    bed.drained(&input, &input).await;
    bed.produce(&input, &poison(5)).await;
    first.report("attempts", |report| report.totals.invocations >= 2).await;
    first.kill().await;
    bed.produce(&input, &[text("0000005 good"), text("0000006 good")]).await;
    config.environment.remove("FAIL_ON");
    let second = Runner::start(&config);
    bed.drained(&input, &input).await;
    let records = bed.records(&output).await;
    assert!(records.iter().all(|record| record.value.as_deref() != Some(b"of old")), "it began with what came later");
    Tally::of(&records, 7).exactly_once();
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_begins_now_has_lag_without_a_member() {
    let bed = Bed::start("latest-asleep").await;
    let input = bed.topic("in", 3, &[]).await;
    bed.produce(&input, &numbered(30, 50, 3)).await;
    let begin = |group: &str, begin: Begin| {
        let (connection, group, topics) = (bed.connection.clone(), group.to_owned(), vec![input.clone()]);
        tokio::task::spawn_blocking(move || begin_group(&connection, &group, &topics, begin).expect("it begins"))
    };
    let group = bed.unique("asleep");
    begin(&group, Begin::Now).await.expect("no panic");
    assert_eq!(bed.lag(&group, &input).await, 0);
    bed.produce(&input, &numbered(12, 50, 3)).await;
    begin(&group, Begin::Now).await.expect("no panic");
    assert_eq!(bed.lag(&group, &input).await, 12, "a group that has begun does not begin again");
    let timed = bed.unique("timed");
    begin(&timed, Begin::At(0)).await.expect("no panic");
    assert_eq!(bed.lag(&timed, &input).await, 42);
    let future = bed.unique("future");
    begin(&future, Begin::At(4_000_000_000_000)).await.expect("no panic");
    assert_eq!(bed.lag(&future, &input).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_begins_with_the_first_record_of_a_time() {
    let bed = Bed::start("timestamp").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 2, &[]).await;
    // No number: should one of them come, the tally says so.
    let old: Vec<_> = (0..2).map(|partition| Record { partition, ..text("of old") }).collect();
    bed.produce(&input, &old).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let time = chrono::Utc::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    bed.produce(&input, &numbered(10, 50, 2)).await;
    let mut config = echo(&bed, &input, Some(&output));
    // An offset of its own, as RFC 3339 allows.
    let zone = chrono::FixedOffset::east_opt(2 * 3_600).expect("a zone");
    trigger(&mut config).start = Start::Timestamp(time.with_timezone(&zone).to_rfc3339());
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    Tally::of(&bed.records(&output).await, 10).exactly_once();
    assert_eq!(runner.stop().await.r#in, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_waits_for_the_function_is_given_back_untouched() {
    let bed = Bed::start("given-back").await;
    let input = bed.topic("in", 3, &[]).await;
    let output = bed.topic("out", 3, &[]).await;
    bed.produce(&input, &numbered(3, 50, 3)).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "SLEEP_MS", "8000");
    config.plan.timeout = Duration::from_secs(9);
    let mut first = Runner::start(&config);
    first.report("a function at work", |report| report.ready).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = Runner::start(&config);
    bed.drained(&input, &input).await;
    Tally::of(&bed.records(&output).await, 3).exactly_once();
    assert!(!first.log().contains("did not drain in time"), "two invocations were waited for");
    let (first, second) = (first.stop().await, second.stop().await);
    assert_eq!(first.r#in + second.r#in, 3);
}

/// A partition that moved before the broker has answered would have its outputs twice: the producer is
/// the whole runner's, and still sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_is_given_back_when_its_outputs_are_delivered() {
    let bed = Bed::start("undelivered").await;
    let input = bed.topic("in", 4, &[]).await;
    // More replicas than there are: the broker asks producers to come again.
    let output = bed.topic("out", 1, &[("min.insync.replicas", "2")]).await;
    bed.produce(&input, &numbered(4, 50, 4)).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "SLEEP_MS", "0");
    config.plan.timeout = Duration::from_secs(1);
    let mut first = Runner::start(&config);
    first.report("all four", |report| report.totals.invocations >= 4).await;
    let second = Runner::start(&config);
    until("the first to give back", PATIENCE, async || first.log().contains("\"revoked\"").then_some(())).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    bed.configure(&output, "min.insync.replicas", "1").await;
    bed.drained(&input, &input).await;
    let (first, second) = (first.stop().await, second.stop().await);
    Tally::of(&bed.records(&output).await, 4).exactly_once();
    assert_eq!((first.r#in, second.r#in), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_stops_in_the_middle_of_a_backlog_of_large_records() {
    let bed = Bed::start("stop-backlog").await;
    let input = bed.topic("in", 1, &[]).await;
    bed.produce(&input, &numbered(100, 600, 1)).await;
    let mut config = with(echo(&bed, &input, None), "SLEEP_MS", "200");
    trigger(&mut config).batch.window = Span::from_secs(0);
    trigger(&mut config).batch.max_bytes = "1KiB".parse::<ByteSize>().expect("a size");
    let mut runner = Runner::start(&config);
    runner.report("work", |report| report.totals.r#in >= 3).await;
    let asked = Instant::now();
    let totals = runner.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    assert_eq!(bed.lag(&input, &input).await, 100 - i64::try_from(totals.r#in).expect("small"));
    assert!(totals.r#in < 50, "most of the backlog is left: {} were done", totals.r#in);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_error_is_cut_so_that_the_letter_fits_beside_its_record() {
    let bed = Bed::start("long-error").await;
    let input = bed.topic("in", 1, &[]).await;
    // As much as the topic takes; the function's error repeats the whole value.
    let value = format!("poison {}", "x".repeat(1_048_400));
    bed.produce(&input, &[text(value.clone())]).await;
    let runner = Runner::start(&with(echo(&bed, &input, None), "FAIL_ON", "poison"));
    bed.drained(&input, &input).await;
    let letters = bed.records(&dead_letters(&input)).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value.as_deref(), Some(value.as_bytes()), "the record is whole");
    let (_, message) = letter::reason(&letters[0]);
    assert!(message.contains("the function does not like `poison") && message.len() < 5000, "{}", message.len());
    runner.stop().await;
}
