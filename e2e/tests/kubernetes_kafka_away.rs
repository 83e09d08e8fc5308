//! Kafka goes away under functions that are scaled on its lag, comes back, and its topics are made
//! anew: replicas hold while nothing is known, and no record is lost.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use tidemill_e2e::{
    bed::numbered,
    kube::{Kube, PATIENCE, echo},
    pods::Ready,
    tally::Tally,
    wait::until,
};
use tidemill_kafka::rdkafka::admin::AdminOptions;
use tidemill_testbed::kafka::{Cluster, Size};

const PARTITIONS: i32 = 6;
const RECORDS: usize = 12_000;
/// How long the cluster is away.
const AWAY: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_hold_while_kafka_is_away_and_follow_topics_made_anew() {
    let cluster = Cluster::new(Size::Spare).expect("the testbed's Kafka");
    let kube = Kube::start_on(cluster.clone(), "away").await;
    let input = kube.bed.topic("in", PARTITIONS, &[]).await;
    let output = kube.bed.topic("out", PARTITIONS, &[]).await;
    let spec = "  env: [{name: SLEEP_EACH_MS, value: \"5\"}]\n  scaling: {max: 3, drainTarget: 5s, cooldown: 5s}\n";
    kube.apply(&echo("echo", &input, &output, spec)).expect("it is accepted");
    kube.condition("fn", "echo", "Ready", "True").await;
    let ready = Ready::follow(&kube, "echo");
    let produced = Instant::now();
    kube.bed.produce(&input, &numbered(RECORDS, 200, PARTITIONS)).await;
    println!("two replicas were ready after {:.1} s", ready.reached(2).duration_since(produced).as_secs_f64());
    let replicas = || kube.get("deployment", "echo")["spec"]["replicas"].as_u64().expect("a count");
    let before = replicas();

    cluster.brokers()[0].signal(Signal::SIGKILL).expect("the broker is killed");
    cluster.brokers()[0].wait_until_silent();
    let since = Instant::now();
    kube.because("fn", "echo", "Ready", "ClusterUnreachable").await;
    println!("Kafka killed: said after {:.1} s", since.elapsed().as_secs_f64());
    while since.elapsed() < AWAY {
        assert_eq!(replicas(), before, "the count is held while nothing is known");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    tokio::task::spawn_blocking(move || cluster.start()).await.expect("it does not panic").expect("Kafka starts");
    let back = Instant::now();
    kube.bed.drained(&input, &input).await;
    println!("Kafka back after {AWAY:?}: the rest was done after {:.1} s", back.elapsed().as_secs_f64());
    let tally = Tally::of(&kube.bed.records(&output).await, RECORDS);
    println!("Kafka away: {tally}");
    tally.none_lost();
    kube.replicas("echo", 0).await;

    // At rest, and with replicas at work.
    for (turn, min) in [(1, 0), (2, 1)] {
        let patch = format!(r#"{{"spec":{{"scaling":{{"min":{min}}}}}}}"#);
        kube.run(&["patch", "fn", "echo", "--type=merge", "-p", &patch]);
        kube.replicas("echo", min).await;
        let seen = kube.bed.records(&output).await.len();
        let admin = kube.bed.connection.admin().expect("an admin client");
        let deleted = admin.delete_topics(&[&input], &AdminOptions::new()).await.expect("the broker answers");
        deleted.into_iter().for_each(|topic| drop(topic.expect("it can be deleted")));
        kube.because("fn", "echo", "Ready", "TopicNotFound").await;
        kube.bed.make(&input, PARTITIONS, &[]).await;
        kube.bed.produce(&input, &numbered(60, 200, PARTITIONS)).await;
        let anew = Instant::now();
        until("the records of the topic made anew", PATIENCE, async || {
            (kube.bed.records(&output).await.len() >= seen + 60).then_some(())
        })
        .await;
        println!("topic made anew ({turn}): its records were done after {:.1} s", anew.elapsed().as_secs_f64());
    }
}
