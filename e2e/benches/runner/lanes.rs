//! One partition, a function that takes 100 ms, 64 lanes, in the order of keys; beside it, the
//! same without lanes.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tidemill_api::Ordering;
use tidemill_e2e::{
    bed::{Bed, numbered},
    figures::Figure,
    runner::{Runner, echo, trigger, with},
};

const RECORDS: usize = 6_000;
const KEYS: usize = 500;
const LANES: u32 = 64;
/// Records that one lane does meanwhile.
const ALONE: usize = 60;

pub async fn measure() -> Vec<Figure> {
    let (one, _) = rate(Ordering::Partition, 1, ALONE).await;
    let (lanes, inversions) = rate(Ordering::Key, LANES, RECORDS).await;
    println!("100 ms a record, 1 partition: {one:.1} records/s in order of the partition,");
    println!("  {lanes:.0}/s in order of {KEYS} keys with {LANES} lanes, {inversions} inversions of a key");
    vec![
        ("runner.key_order_records_per_second".to_owned(), lanes, "1/s", Some(one)),
        ("runner.key_order_inversions".to_owned(), inversions as f64, "", Some(0.0)),
    ]
}

async fn rate(ordering: Ordering, concurrency: u32, records: usize) -> (f64, usize) {
    let bed = Bed::start("lanes").await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    let mut all = numbered(records, 200, 1);
    for (number, record) in all.iter_mut().enumerate() {
        record.key = Some(format!("key{}", number * 7_919 % KEYS).into());
    }
    bed.produce(&input, &all).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "SLEEP_MS", "100");
    config.plan.concurrency = concurrency;
    let kafka = trigger(&mut config);
    kafka.ordering = ordering;
    kafka.batch.max_records = 1;
    kafka.batch.window = tidemill_api::Duration::from_secs(0);
    let mut runner = Runner::start(&config);
    // From when all functions are there.
    let before = runner.report("work", |report| report.totals.r#in >= u64::from(concurrency) * 2).await.totals.r#in;
    let started = Instant::now();
    let done = runner.report("all", |report| report.totals.r#in >= records as u64).await.totals.r#in;
    let rate = (done - before) as f64 / started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    runner.stop().await;
    let mut last: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut inversions = 0;
    for record in bed.records(&output).await {
        let (key, value) = (record.key.expect("a key").to_vec(), record.value.expect("a value").to_vec());
        let before = last.insert(key, value.clone());
        inversions += usize::from(before.is_some_and(|before| before > value));
    }
    (rate, inversions)
}
