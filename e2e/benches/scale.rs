//! How soon a burst is met, and what it costs a stream when pods come, go and die, on a real
//! cluster: 12 partitions, 20 ms a record, bursts of 3,000 records from zero; then 2,000 records
//! a second through a rolling restart, a scale-in from 6 to 2, and a kill -9.
//!
//! `cargo bench --profile release -p tidemill-e2e --bench scale [-- BURSTS [bursts]]`; the word leaves the stream out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tidemill_e2e::{
    bed::numbered,
    figures::{Figure, write},
    kube::{Kube, OPERATOR, echo, kubectl},
    pods::{Ready, addresses, metric, processes},
    tally::Tally,
    wait::until,
};
use tidemill_kafka::rdkafka::producer::Producer as _;
use tokio::time::sleep;

const PARTITIONS: i32 = 12;
const BURST: usize = 3_000;
const MOST: u64 = 6;
/// KEDA 2.21 on the same kind of machine, `lagThreshold` 100, polls every 30 s.
const KEDA: f64 = 25.7;
/// Records a second of the stream, and for how many seconds.
const RATE: usize = 2_000;
const SECONDS: usize = 25;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let bursts = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(10_usize);
    let kube = Kube::start("scale-bench").await;
    let mut figures = burst(&kube, bursts).await;
    let only_bursts = std::env::args().any(|argument| argument == "bursts");
    for event in if only_bursts { &[][..] } else { &STREAMS } {
        figures.extend(stream(&kube, event).await);
    }
    write(&figures);
}

/// What befalls a stream.
const STREAMS: [&str; 3] = ["rolling restart", "scale-in from 6 to 2", "kill -9 of a runner"];

async fn burst(kube: &Kube, bursts: usize) -> Vec<Figure> {
    let input = kube.bed.topic("burst", PARTITIONS, &[]).await;
    let output = kube.bed.topic("burst-out", PARTITIONS, &[]).await;
    let warm = kube.bed.topic("burst-warm", 1, &[]).await;
    let spec = "  env: [{name: SLEEP_EACH_MS, value: \"20\"}]\n  scaling: {max: 6, drainTarget: 10s, cooldown: 3s}\n";
    kube.apply(&echo("burst", &input, &output, spec)).expect("it is accepted");
    kube.condition("fn", "burst", "Ready", "True").await;
    let records = numbered(BURST, 200, PARTITIONS);
    println!("{:>5} {:>9} {:>9} {:>11} {:>10}", "burst", "1 ready", "6 ready", "rebalances", "done");
    let (mut times, mut rebalances) = (Vec::new(), Vec::new());
    // The first one measures the function's capacity: it is shown and does not count.
    for number in 0..=bursts {
        kube.replicas("burst", 0).await;
        sleep(Duration::from_secs(2)).await;
        let ready = Ready::follow(kube, "burst");
        // Its connections are there: time counts from the first record.
        let producer = kube.bed.connection.producer().expect("a producer");
        kube.bed.produce_with(&producer, &warm, &records[..1]).await;
        producer.client().fetch_metadata(Some(&input), Duration::from_secs(10)).expect("the broker answers");
        let began = Instant::now();
        kube.bed.produce_with(&producer, &input, &records).await;
        let counted = number > 0;
        let (first, six) =
            if counted { (ready.reached(1), Some(ready.reached(MOST))) } else { (ready.reached(1), None) };
        // A rebalance takes partitions from several members at once: how often one of them had to
        // give some up is how many there were.
        let mut moved: f64 = 0.0;
        kube.bed.drained(&input, &input).await;
        let done = began.elapsed();
        for (_, address) in addresses(kube, "burst") {
            let given_up = metric(&address, "tidemill_runner_rebalances_total").await.unwrap_or_default();
            moved = moved.max(given_up);
        }
        let seconds = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
        let six = six.map(seconds);
        println!(
            "{number:>5} {:>7.2} s {:>7.2} s {moved:>11.0} {:>8.1} s",
            seconds(first),
            six.unwrap_or(f64::NAN),
            done.as_secs_f64()
        );
        if let Some(six) = six {
            times.push(six);
            rebalances.push(moved);
        }
    }
    let tally = Tally::of(&kube.bed.records_when(&output, BURST * (bursts + 1)).await, BURST);
    assert_eq!(tally.lost, 0, "{tally}");
    let (middle, late) = (percentile(&mut times, 50), percentile(&mut times, 95));
    println!("0 → 6 ready: p50 {middle:.2} s, p95 {late:.2} s; KEDA {KEDA} s: {:.1} times as long", KEDA / middle);
    let wake = wake(kube).await;
    println!("first record → decision: {:.0} ms on average", wake * 1_000.0);
    kube.run(&["delete", "fn", "burst"]);
    vec![
        ("scale.zero_to_six_seconds".to_owned(), middle, "s", Some(KEDA)),
        ("scale.zero_to_six_p95_seconds".to_owned(), late, "s", Some(KEDA)),
        ("scale.rebalances".to_owned(), percentile(&mut rebalances, 50), "per burst", None),
        ("scale.wake_to_decision_seconds".to_owned(), wake, "s", None),
    ]
}

/// The mean time from a first record's arrival to the decision, as the operator counts it.
async fn wake(kube: &Kube) -> f64 {
    let leader = kubectl(
        kube.cluster,
        &["-n", OPERATOR, "get", "lease", "tidemill-operator", "-o=jsonpath={.spec.holderIdentity}"],
    );
    let leader = leader.expect("a leader");
    let address = kubectl(kube.cluster, &["-n", OPERATOR, "get", "pod", &leader, "-o=jsonpath={.status.podIP}"]);
    let address = address.expect("the leader's address");
    let sum = metric(&address, "tidemill_operator_wake_seconds_sum").await.unwrap_or(f64::NAN);
    sum / metric(&address, "tidemill_operator_wake_seconds_count").await.unwrap_or(f64::NAN)
}

async fn stream(kube: &Kube, event: &str) -> Vec<Figure> {
    let name = event.split([' ', '-']).next().expect("a word");
    let input = kube.bed.topic(&format!("{name}-in"), PARTITIONS, &[]).await;
    let output = kube.bed.topic(&format!("{name}-out"), PARTITIONS, &[]).await;
    let spec = "  scaling: {min: 6, max: 6}\n";
    kube.apply(&echo(name, &input, &output, spec)).expect("it is accepted");
    kube.replicas(name, MOST).await;
    sleep(Duration::from_secs(3)).await;
    let all = numbered(RATE * SECONDS, 200, PARTITIONS);
    let feed = kube.bed.feed(&input, &all, RATE);
    let act = async {
        sleep(Duration::from_secs(5)).await;
        match name {
            "rolling" => {
                let patch = r#"{"spec":{"trigger":{"kafka":{"batch":{"maxRecords":37}}}}}"#;
                kube.run(&["patch", "fn", name, "--type=merge", "-p", patch]);
            }
            "scale" => {
                kube.run(&["scale", "fn", name, "--replicas=2"]);
            }
            _ => {
                let (pod, _) = addresses(kube, name).remove(0);
                for pid in processes(kube, &pod, "tidemill-runner") {
                    // It is ours: a process of the pod that was just made.
                    drop(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status());
                }
            }
        }
    };
    tokio::join!(feed, act);
    kube.bed.drained(&input, &input).await;
    let records = until("all records", Duration::from_secs(60), async || {
        let records = kube.bed.records(&output).await;
        (records.len() >= all.len()).then_some(records)
    })
    .await;
    let tally = Tally::of(&records, all.len());
    // The longest time in which nothing of a partition came out.
    let mut last: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for record in &records {
        let number = record.value.as_deref().and_then(|value| std::str::from_utf8(&value[..7]).ok()?.parse().ok());
        let number: usize = number.expect("the value begins with a number");
        last.entry(number % PARTITIONS as usize).or_default().push(record.timestamp);
    }
    let stall = last.values_mut().map(|times| {
        times.sort_unstable();
        times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
    });
    let stall = stall.max().unwrap_or_default() as f64 / 1_000.0;
    println!("{event}: {tally}; longest stall of a partition {stall:.2} s");
    tally.none_lost();
    kube.run(&["delete", "fn", name]);
    vec![
        (format!("scale.{name}_stall_seconds"), stall, "s", None),
        (format!("scale.{name}_repeated"), tally.repeated as f64, "records", None),
        (format!("scale.{name}_lost"), tally.lost as f64, "records", None),
    ]
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() * percent).div_ceil(100)).saturating_sub(1)]
}
