//! Functions on a real cluster: they run, rest, are changed, held, and go, and no record is lost.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tidemill_e2e::{
    bed::{dead_letters, numbered, text},
    kube::{Kube, echo, kubectl},
    letter::headers,
    tally::Tally,
    wait::until,
};

const PARTITIONS: i32 = 6;

/// Lines of a spec: a short cooldown, so that the end of a test is soon.
const SHORT: &str = "  scaling: {max: 3, cooldown: 3s}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_starts_with_its_first_records_and_rests_after_them() {
    let kube = Kube::start("runs").await;
    let input = kube.bed.topic("in", PARTITIONS, &[]).await;
    let output = kube.bed.topic("out", PARTITIONS, &[]).await;
    let applied = Instant::now();
    kube.apply(&echo("echo", &input, &output, SHORT)).expect("it is accepted");
    assert_eq!(kube.condition("fn", "echo", "Ready", "True").await.0, "Idle");
    println!("a function was ready at zero {:.1} s after it was applied", applied.elapsed().as_secs_f64());
    kube.bed.produce(&input, &numbered(3000, 200, PARTITIONS)).await;
    let produced = Instant::now();
    kube.bed.drained(&input, &input).await;
    println!("3,000 records were done {:.1} s after they came, from zero", produced.elapsed().as_secs_f64());
    Tally::of(&kube.bed.records(&output).await, 3000).exactly_once();
    kube.replicas("echo", 0).await;
    let function = kube.get("fn", "echo");
    assert_eq!(function["status"]["lag"], 0);
    assert!(function["status"]["reason"].as_str().is_some_and(|reason| reason.contains("no lag")), "{function}");
    let shown = kube.run(&["get", "fn", "echo"]);
    for column in ["READY", "REPLICAS", "LAG", "RATE", "REASON", "AGE"] {
        assert!(shown.contains(column), "{shown}");
    }
    let described = kube.run(&["describe", "fn", "echo"]);
    assert!(described.contains("0 → ") && described.contains(" waiting"), "{described}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_rolls_the_pods_and_loses_nothing() {
    let kube = Kube::start("rolls").await;
    let input = kube.bed.topic("in", PARTITIONS, &[]).await;
    let output = kube.bed.topic("out", PARTITIONS, &[]).await;
    let slow = "  env: [{name: SLEEP_MS, value: \"20\"}]\n  scaling: {min: 2, max: 2}\n";
    kube.apply(&echo("echo", &input, &output, slow)).expect("it is accepted");
    kube.replicas("echo", 2).await;
    kube.bed.produce(&input, &numbered(20_000, 200, PARTITIONS)).await;
    let before = kube.pods("echo");
    let patch = r#"{"spec":{"trigger":{"kafka":{"batch":{"maxRecords":37}}}}}"#;
    kube.run(&["patch", "fn", "echo", "--type=merge", "-p", patch]);
    let took = kube.replaced("echo", &before).await;
    println!("a changed batch size reached a new pod after {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(3), "{took:?}");
    kube.bed.drained(&input, &input).await;
    let tally = Tally::of(&kube.bed.records(&output).await, 20_000);
    println!("rolling update: {tally}");
    tally.exactly_once();
    assert!(kube.bed.records(&dead_letters(&input)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_set_by_hand_is_held_until_it_is_removed() {
    let kube = Kube::start("by-hand").await;
    let input = kube.bed.topic("in", PARTITIONS, &[]).await;
    let output = kube.bed.topic("out", PARTITIONS, &[]).await;
    kube.apply(&echo("echo", &input, &output, SHORT)).expect("it is accepted");
    kube.condition("fn", "echo", "Ready", "True").await;
    kube.run(&["scale", "fn", "echo", "--replicas=2"]);
    kube.replicas("echo", 2).await;
    assert_eq!(kube.get("fn", "echo")["status"]["reason"], "set by hand");
    kube.run(&["patch", "fn", "echo", "--type=json", "-p", r#"[{"op":"remove","path":"/spec/replicas"}]"#]);
    kube.replicas("echo", 0).await;

    kube.run(&["annotate", "fn", "echo", "tidemill.dev/paused-replicas=1"]);
    kube.replicas("echo", 1).await;
    kube.run(&["annotate", "fn", "echo", "tidemill.dev/paused-replicas-", "tidemill.dev/paused=true"]);
    until("the pause to be told", Duration::from_secs(10), async || {
        let reason = kube.get("fn", "echo")["status"]["reason"].as_str()?.to_owned();
        (reason == "paused by tidemill.dev/paused").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kube.get("deployment", "echo")["status"]["replicas"], 1, "held beyond the cooldown");
    kube.run(&["annotate", "fn", "echo", "tidemill.dev/paused-"]);
    kube.replicas("echo", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_function_finishes_what_it_has_begun() {
    let kube = Kube::start("deleted").await;
    let input = kube.bed.topic("in", 1, &[]).await;
    let output = kube.bed.topic("out", 1, &[]).await;
    let slow = "  env: [{name: SLEEP_MS, value: \"3000\"}]\n  scaling: {min: 1, max: 1}\n";
    kube.apply(&echo("echo", &input, &output, slow)).expect("it is accepted");
    kube.replicas("echo", 1).await;
    kube.bed.produce(&input, &numbered(50, 200, 1)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    kube.run(&["delete", "fn", "echo", "--wait=false"]);
    until("the pods to go", Duration::from_secs(60), async || {
        let all = kubectl(kube.cluster, &["-n", &kube.namespace, "get", "pods", "-o", "name"]).ok()?;
        all.trim().is_empty().then_some(())
    })
    .await;
    let done = kube.bed.records(&output).await.len() as i64;
    assert!(done > 0, "the batch in flight was finished");
    assert_eq!(kube.bed.lag(&input, &input).await, 50 - done, "and committed, and nothing beside it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_hangs_or_ends_is_started_again_and_its_records_go_on() {
    let kube = Kube::start("crash").await;
    let input = kube.bed.topic("in", 1, &[]).await;
    let output = kube.bed.topic("out", 1, &[]).await;
    let odd = "  timeout: 1s\n  env: [{name: SLEEP_ON, value: hang}, {name: SLEEP_MS, value: \"30000\"}]\n  retry: {attempts: 1, bisect: false, backoff: {initial: 100ms}}\n  scaling: {min: 1, max: 1}\n";
    kube.apply(&echo("echo", &input, &output, odd)).expect("it is accepted");
    kube.replicas("echo", 1).await;
    kube.bed.produce(&input, &[text("hang")]).await;
    kube.bed.drained(&input, &input).await;
    let letters = kube.bed.records(&dead_letters(&input)).await;
    assert_eq!(tidemill_e2e::letter::reason(&letters[0]).0, "Timeout");
    kube.bed.produce(&input, &numbered(10, 50, 1)).await;
    kube.bed.drained(&input, &input).await;
    Tally::of(&kube.bed.records(&output).await, 10).exactly_once();
    until("the restart of the function's container to be told", Duration::from_secs(20), async || {
        kube.run(&["get", "pods", "-o", "json"]).contains("\"restartCount\": 1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_begins_now_works_on_two_at_once_and_says_which_record_it_waits_for() {
    const RECORDS: usize = 40;
    const STUCK: usize = 6;
    let kube = Kube::start("stuck").await;
    let input = kube.bed.topic("in", 2, &[]).await;
    let output = kube.bed.topic("out", 1, &[]).await;
    // No numbers: should one of them come, the tally says so.
    kube.bed.produce(&input, &[text("of old"), text("of old"), text("of old")]).await;
    let more = r#"  concurrency: 2
  timeout: 1s
  env: [{name: TELL_CONTEXT, value: "true"}, {name: SLEEP_MS, value: "200"}, {name: FAIL_ON, value: poison}]
  retry: {attempts: 1000, backoff: {initial: 1s, max: 1s}}
  scaling: {min: 1, max: 1}
"#;
    let place = "start: latest, ordering: key, batch: {maxRecords: 1, window: 0s}, group:";
    kube.apply(&echo("echo", &input, &output, more).replace("group:", place)).expect("it is accepted");
    kube.condition("fn", "echo", "Ready", "True").await;
    assert_eq!(kube.bed.lag(&input, &input).await, 0, "what was there before is not its");
    let mut records = numbered(RECORDS + 1, 50, 2);
    records[STUCK].value = Some(format!("{STUCK:07} poison").into());
    let (records, later) = records.split_at(RECORDS);
    kube.bed.produce(&input, records).await;
    let came = kube.bed.records_when(&output, RECORDS - 1).await;
    let tally = Tally::of(&came, RECORDS);
    assert_eq!((tally.lost, tally.repeated), (1, 0), "{tally}");
    let in_flight: BTreeSet<_> = came.iter().map(|record| headers(record)["in-flight"].clone()).collect();
    assert_eq!(in_flight, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    let path = "-o=jsonpath={.items[0].spec.containers[?(@.name==\"function\")].env[?(@.name==\"AWS_LAMBDA_MAX_CONCURRENCY\")].value}";
    assert_eq!(kube.run(&["get", "pods", path]), "2");
    // Three were there before it, in its partition, the first of the two.
    let waits = format!("{input}-0 waits for the record at offset {}", 3 + STUCK / 2);
    until("it to be told", Duration::from_secs(40), async || {
        kube.get("fn", "echo")["status"]["reason"].as_str()?.contains(&waits).then_some(())
    })
    .await;
    kube.bed.produce(&input, later).await;
    kube.bed.records_when(&output, RECORDS).await;
    assert_eq!(
        kube.bed.lag(&input, &input).await,
        (RECORDS / 2 + 1 - STUCK / 2) as i64,
        "nothing is committed past it"
    );
}
