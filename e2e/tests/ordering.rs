//! `ordering`: lanes inside one partition, a record that fails for ever in one of them, and batches
//! in the order of their partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tidemill_api::{Backoff, Ordering};
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    letter::headers,
    process,
    runner::{Runner, echo, trigger, with},
    tally::{Tally, number},
    wait::until,
};
use tidemill_runner::{config::Config, record::Record};

const LANES: u32 = 16;
const KEYS: usize = 40;

/// One partition of records with so many keys, and a function with lanes that takes its time.
async fn scene(test: &str, ordering: Ordering, records: usize) -> (Bed, String, String, Config) {
    let bed = Bed::start(test).await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    bed.produce(&input, &keyed(records)).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "SLEEP_MS", "50");
    config.plan.concurrency = LANES;
    trigger(&mut config).ordering = ordering;
    trigger(&mut config).batch.max_records = 2;
    trigger(&mut config).batch.window = tidemill_api::Duration::from_secs(0);
    (bed, input, output, config)
}

fn keyed(records: usize) -> Vec<Record> {
    let mut all = numbered(records, 50, 1);
    for (number, record) in all.iter_mut().enumerate() {
        record.key = Some(format!("key{}", number % KEYS).into());
    }
    all
}

/// So many characters that no codec makes much smaller.
fn text(length: u64) -> String {
    (0..length).map(|number| char::from(b'!' + (number * number * 7_919 % 90) as u8)).collect()
}

/// The numbers of each key's records, as they came out.
fn by_key(records: &[Record]) -> BTreeMap<Vec<u8>, Vec<usize>> {
    let mut keys: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for record in records {
        keys.entry(record.key.as_deref().expect("a key").to_vec()).or_default().push(number(record));
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_keep_their_order_beside_each_other() {
    const RECORDS: usize = 2_000;
    for ordering in [Ordering::Key, Ordering::None] {
        let (bed, input, output, config) = scene("keys", ordering, RECORDS).await;
        let mut runner = Runner::start(&config);
        runner.report("work", |report| report.totals.r#in > 0).await;
        let started = Instant::now();
        bed.drained(&input, &input).await;
        let took = started.elapsed();
        let out = bed.records(&output).await;
        Tally::of(&out, RECORDS).exactly_once();
        // One batch of two after the other would take 50 s.
        assert!(took < Duration::from_secs(15), "{ordering:?}: {took:?} for {RECORDS} records");
        let inversions: Vec<_> = by_key(&out).into_iter().filter(|(_, numbers)| !numbers.is_sorted()).collect();
        assert!(ordering == Ordering::None || inversions.is_empty(), "{inversions:?}");
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_runner_repeats_but_loses_nothing() {
    const RECORDS: usize = 3_000;
    for ordering in [Ordering::Key, Ordering::None] {
        let (bed, input, output, config) = scene("lanes-killed", ordering, RECORDS).await;
        let mut runner = Runner::start(&config);
        runner.report("a third of the work", |report| report.totals.r#in >= RECORDS as u64 / 3).await;
        runner.kill().await;
        assert!(bed.lag(&input, &input).await > 0, "it happened in the middle");
        let runner = Runner::start(&config);
        bed.drained(&input, &input).await;
        let out = bed.records(&output).await;
        let tally = Tally::of(&out, RECORDS);
        println!("kill -9 with lanes, {ordering:?}: {tally}");
        tally.none_lost();
        for (key, numbers) in by_key(&out) {
            // What is repeated begins again further back; between such steps the order of a key is kept.
            let back = numbers.windows(2).filter(|pair| pair[0] > pair[1]).count();
            assert!(back <= 1 || ordering == Ordering::None, "{}: {numbers:?}", String::from_utf8_lossy(&key));
        }
        runner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_fails_for_ever_holds_its_key_alone_and_memory_is_bounded() {
    const RECORDS: usize = 80_000;
    const AHEAD: usize = 50_000;
    const STUCK: usize = 77;
    const MEMORY: u64 = 48;
    let bed = Bed::start("stuck").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    let mut records = keyed(RECORDS);
    records[STUCK].value = Some("0000077 poison".into());
    bed.produce(&input, &records).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison");
    config.plan.concurrency = 2;
    config.plan.timeout = Duration::from_secs(2);
    config.plan.retry.attempts = 1_000;
    config.plan.retry.backoff =
        Backoff { initial: tidemill_api::Duration::from_secs(1), max: tidemill_api::Duration::from_secs(1) };
    trigger(&mut config).ordering = Ordering::Key;
    // The guilty record is alone in its batch.
    trigger(&mut config).batch.max_records = 1;
    trigger(&mut config).batch.window = tidemill_api::Duration::from_secs(0);
    let mut runner = Runner::start(&config);
    // It reads so far past the one that is stuck, and does those of the other keys.
    let others = (AHEAD - AHEAD / KEYS) as u64;
    // 49,000 invocations: where tests run beside this one, they take more than one wait's patience.
    for eighth in 1..=8 {
        let what = format!("{eighth}/8 of the other keys' work");
        runner.report(&what, |report| report.totals.r#in + 300 >= others * eighth / 8).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let done = runner.report("its totals", |_| true).await.totals.r#in;
    assert!(done < AHEAD as u64 + 200, "{done} of {RECORDS}: it should have stopped reading");
    let keys = by_key(&bed.records(&output).await);
    let stuck = &keys[format!("key{}", STUCK % KEYS).as_bytes()];
    assert_eq!(stuck.iter().max(), Some(&(STUCK - KEYS)), "what comes after it waits for it");
    assert_eq!(keys.keys().collect::<BTreeSet<_>>().len(), KEYS);
    assert_eq!(bed.lag(&input, &input).await, (RECORDS - STUCK) as i64, "nothing is committed past it");
    let most = process::memory(runner.pid(), "VmHWM");
    println!("the runner had {most} MiB");
    assert!(most < MEMORY, "it had {most} MiB");
    // Another partition is not held up.
    let other: Vec<Record> = numbered(100, 50, 1).into_iter().map(|record| Record { partition: 1, ..record }).collect();
    bed.produce(&input, &other).await;
    runner.report("the other partition's work", |report| report.totals.r#in >= done + 100).await;
    until("it to be said", Duration::from_secs(40), async || {
        let (_, text) = runner.admin("/report").await;
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let held = &report["held"][0];
        (held["offset"] == STUCK && held["partition"] == format!("{input}-0")).then_some(())
    })
    .await;
    let (_, metrics) = runner.admin("/metrics").await;
    assert!(metrics.lines().any(|line| line == "tidemill_runner_partitions_held 1"), "{metrics}");
    runner.stop().await;
}

/// The function works on the next batch while outputs are on their way; where these are refused,
/// what it answered meanwhile counts for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_invoked_early_is_invoked_again_after_the_one_before() {
    const RECORDS: usize = 40;
    const LARGE: usize = 20;
    let (bed, input, _, config) = scene("early", Ordering::Partition, 0).await;
    let output = bed.topic("small", 1, &[("max.message.bytes", "2000"), ("compression.type", "uncompressed")]).await;
    let mut all = keyed(RECORDS);
    all[LARGE].value = Some(format!("{LARGE:07} {}", text(4_000)).into());
    bed.produce(&input, &all).await;
    let mut config = with(with(config, "TELL_CONTEXT", "true"), "SLEEP_MS", "0");
    config.plan.output.as_mut().expect("it has an output").topic = output.clone();
    config.plan.concurrency = 1;
    config.plan.retry.attempts = 1_000;
    let second = tidemill_api::Duration::from_secs(1);
    config.plan.retry.backoff = Backoff { initial: second, max: second };
    trigger(&mut config).batch.max_records = 1;
    let mut runner = Runner::start(&config);
    runner.report("those before", |report| report.totals.r#in >= LARGE as u64).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bed.records(&output).await.len(), LARGE, "the others wait for what is refused");
    bed.configure(&output, "max.message.bytes", "100000").await;
    bed.drained(&input, &input).await;
    let out = bed.records(&output).await;
    assert_eq!(out.iter().map(number).collect::<Vec<_>>(), (0..RECORDS).collect::<Vec<_>>());
    let event = |record: &Record| -> usize {
        let (_, value) = record.headers.iter().find(|(name, _)| name == "event").expect("it is told");
        String::from_utf8_lossy(value.as_ref().expect("a number")).parse().expect("a number")
    };
    let events: Vec<_> = out.iter().map(event).collect();
    assert!(events.is_sorted(), "each answer was given after those before it: {events:?}");
    // Before it those that were refused, and the next record, early and in vain.
    let refused = runner.log().matches("attempt failed, will retry").count();
    assert!(refused > 0);
    assert_eq!((events[LARGE], events[LARGE + 1]), (LARGE + 1 + refused + 1, LARGE + 1 + refused + 2), "{events:?}");
    runner.stop().await;
}

/// Letters are effects like others: those of a batch that is invoked early wait for the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_come_in_the_order_of_their_partition() {
    let (bed, input, _, mut config) = scene("letters", Ordering::Partition, 0).await;
    let output = bed.topic("small", 1, &[("max.message.bytes", "2000"), ("compression.type", "uncompressed")]).await;
    // The output of the second is refused, and the third is more than a batch may have.
    let sizes = [100, 4_000, 20_000, 100];
    let records: Vec<_> = sizes.map(|size| Record { value: Some(text(size).into()), ..Record::default() }).into();
    bed.produce(&input, &records).await;
    config = with(config, "SLEEP_MS", "0");
    config.plan.output.as_mut().expect("it has an output").topic = output.clone();
    config.plan.retry.attempts = 2;
    let pause = tidemill_api::Duration::from_secs(1);
    config.plan.retry.backoff = Backoff { initial: pause, max: pause };
    trigger(&mut config).batch.max_records = 1;
    trigger(&mut config).batch.max_bytes = "10000".parse().expect("a size");
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let offsets: Vec<_> = bed
        .records(&dead_letters(&input))
        .await
        .iter()
        .map(|letter| headers(letter)["original-offset"].clone())
        .collect();
    assert_eq!(offsets, ["1", "2"]);
    assert_eq!(bed.records(&output).await.len(), 2);
    runner.stop().await;
}

/// Records that failed wait by themselves, and not with all that were in their batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_named_as_failed_holds_no_other_key_of_its_batch() {
    const RECORDS: usize = 4_000;
    let (bed, input, output, mut config) = scene("named", Ordering::Key, 0).await;
    let mut all = keyed(RECORDS);
    for number in (0..RECORDS).filter(|number| number % KEYS == 7) {
        all[number].value = Some(format!("{number:07} poison").into());
    }
    bed.produce(&input, &all).await;
    config = with(config, "REPORT_ON", "poison");
    config.plan.concurrency = 1;
    let minute = tidemill_api::Duration::from_secs(60);
    config.plan.retry.attempts = 3;
    config.plan.retry.backoff = Backoff { initial: minute, max: minute };
    trigger(&mut config).batch.max_records = 100;
    let mut runner = Runner::start(&config);
    let others = RECORDS - RECORDS / KEYS;
    // Well before the first of them is tried again.
    let out = tokio::time::timeout(Duration::from_secs(20), bed.records_when(&output, others)).await;
    let out = out.expect("other keys wait for nobody");
    assert!(by_key(&out).values().all(|numbers| numbers.is_sorted()));
    assert_eq!((by_key(&out).len(), out.len()), (KEYS - 1, others));
    let totals = runner.report("its count", |report| report.totals.r#in >= others as u64).await.totals;
    assert_eq!(totals.r#in, others as u64, "what failed has no outcome yet");
    runner.stop().await;
}
