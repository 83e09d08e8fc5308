//! A record that is retried for ten minutes, longer than Kafka lets a member go without a poll:
//! the group must not notice, and the other partition must not wait.

use std::time::Duration;
use tidemill_api::Backoff;
use tidemill_e2e::{
    bed::{Bed, numbered},
    figures::Figure,
    runner::{Runner, echo, with},
};
use tidemill_runner::record::Record;

const MINUTES: usize = 10;
const PER_SECOND: usize = 200;
/// A pause that somebody would notice.
const PAUSE: i64 = 2_000;

pub async fn measure() -> Vec<Figure> {
    let bed = Bed::start("retry").await;
    let (input, output) = (bed.topic("in", 2, &[]).await, bed.topic("out", 2, &[]).await);
    let mut config = with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison");
    let five = tidemill_api::Duration::from_millis(5_000);
    config.plan.retry.attempts = 1_000;
    config.plan.retry.backoff = Backoff { initial: five, max: five };
    let mut runner = Runner::start(&config);
    bed.produce(&input, &[Record { value: Some("poison".into()), ..Record::default() }]).await;
    let rebalances = rebalances(&mut runner).await;
    let records: Vec<Record> = numbered(MINUTES * 60 * PER_SECOND, 100, 1)
        .into_iter()
        .map(|record| Record { partition: 1, ..record })
        .collect();
    bed.feed(&input, &records, PER_SECOND).await;
    let out = bed.records_when(&output, records.len()).await;
    let mut times: Vec<i64> = out.iter().map(|record| record.timestamp).collect();
    times.sort_unstable();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let more = self::rebalances(&mut runner).await - rebalances;
    println!(
        "a record retried for {MINUTES} min: {more} rebalances, {} of {} records of the other partition came, \
         the longest pause between two {longest} ms",
        out.len(),
        records.len(),
    );
    assert_eq!((more, out.len(), bed.lag(&input, &input).await), (0, records.len(), 1));
    assert!(longest < PAUSE, "the other partition waited for {longest} ms");
    runner.stop().await;
    vec![("runner.retry_longest_pause".to_owned(), longest as f64 / 1e3, "s", None)]
}

/// How often the runner had to give up partitions, or got some.
async fn rebalances(runner: &mut Runner) -> u64 {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (_, metrics) = runner.admin("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("tidemill_runner_rebalances_total "));
    line.map_or(0, |number| number.parse().expect("a number"))
}
