//! What 1 % of records that fail for good cost the others, where order allows them to go on.

use crate::programs::{Programs, median};
use std::time::Instant;
use tidemill_api::{Backoff, Ordering};
use tidemill_e2e::{
    bed::{Bed, numbered},
    figures::Figure,
    runner::{Runner, echo, trigger, with},
};

const RECORDS: usize = 1_000_000;
const PARTITIONS: i32 = 6;
/// Runs of each, one after the other.
const PAIRS: usize = 5;
/// So many of them are measured.
const STREAM: u64 = RECORDS as u64 / 100 * 95;

pub async fn measure() -> Vec<Figure> {
    // The first run warms the broker up.
    rate(0).await;
    let (mut clean, mut poisoned) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        clean.push(rate(0).await);
        poisoned.push(rate(100).await);
    }
    let ratios: Vec<String> =
        poisoned.iter().zip(&clean).map(|(poisoned, clean)| format!("{:.2}", poisoned / clean)).collect();
    let (clean, poisoned) = (median(clean), median(poisoned));
    println!(
        "{RECORDS} records in order of keys: {clean:.0}/s clean, {poisoned:.0}/s with 1 % poison ({:.2}; each pair: {})",
        poisoned / clean,
        ratios.join(", "),
    );
    vec![("runner.poisoned_records_per_second".to_owned(), poisoned, "1/s", Some(clean))]
}

/// Records a second; one of so many is poison, where there is any.
async fn rate(one_of: usize) -> f64 {
    let bed = Bed::start("poison").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let output = bed.topic("out", PARTITIONS, &[]).await;
    let mut all = numbered(RECORDS, 200, PARTITIONS);
    for (number, record) in all.iter_mut().enumerate() {
        // As many in each partition: they take turns.
        if one_of > 0 && number / PARTITIONS as usize % one_of == one_of / 2 {
            record.value = Some(format!("{number:07} poison").into());
        }
    }
    bed.produce(&input, &all).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "REPORT_ON", "poison");
    config.plan.retry.attempts = 3;
    config.plan.retry.backoff = Backoff::default();
    let kafka = trigger(&mut config);
    kafka.ordering = Ordering::Key;
    kafka.batch.max_records = 500;
    let mut runner = Runner::start(&config);
    let before = runner.report("work", |report| report.totals.r#in > 0).await.totals;
    let programs = Programs::of(&runner);
    let started = Instant::now();
    // Of a stream that goes on: at its end nobody would work while the last ones rest.
    let after = runner.report("the stream", |report| report.totals.r#in >= STREAM).await.totals;
    let done = (after.r#in - before.r#in) as f64;
    let rate = done / started.elapsed().as_secs_f64();
    let kind = if one_of > 0 { "with 1 % poison" } else { "clean" };
    let invocations = (after.invocations - before.invocations) as f64 / done * 1e6;
    println!("{kind:16} {rate:>8.0}/s  {}; {invocations:.0} invocations; {}", programs.took(done), programs.memory());
    runner.report("the last attempts", |report| report.totals.r#in >= RECORDS as u64).await;
    runner.stop().await;
    bed.remove().await;
    rate
}
