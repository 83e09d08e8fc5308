//! Functions on a Kafka that asks who comes: what is said, and kept, where the secrets are wrong, and
//! that each record comes out once by every way in. `PLAIN` without TLS is for runners and `dlq`
//! alone: a `KafkaCluster` refuses it.

use futures::future::join_all;
use std::process::Stdio;
use tidemill_api::Delivery;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    runner::{Runner, echo},
    secured::{Way, start},
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_kafka::Tls;
use tidemill_runner::config::{Config, OtherCluster, prefixes};
use tidemill_testbed::{
    kafka::secured::{Listener, Secured},
    programs,
};
use tokio::process::Command;

const RECORDS: usize = 1_000;
const PARTITIONS: i32 = 3;

/// Every way in.
fn ways(kafka: &Secured) -> [(&'static str, Way); 6] {
    [
        ("plain", Way::into(kafka, Listener::SaslPlaintext, Some("PLAIN"))),
        ("plain-tls", Way::into(kafka, Listener::SaslTls, Some("PLAIN"))),
        ("scram-sha-256", Way::into(kafka, Listener::SaslTls, Some("SCRAM-SHA-256"))),
        ("scram-sha-512", Way::into(kafka, Listener::SaslTls, Some("SCRAM-SHA-512"))),
        ("tls", Way::into(kafka, Listener::Tls, None)),
        ("mutual-tls", Way::into(kafka, Listener::Mutual, None)),
    ]
}

/// Input filled and output empty.
async fn topics(bed: &Bed) -> (String, String) {
    let (input, output) = (bed.topic("in", PARTITIONS, &[]).await, bed.topic("out", PARTITIONS, &[]).await);
    bed.produce(&input, &numbered(RECORDS, 100, PARTITIONS)).await;
    (input, output)
}

fn run(config: &Config, secrets: &[(String, String)]) -> Runner {
    let secrets: Vec<_> = secrets.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Runner::start_with(config, &secrets)
}

/// A runner that comes this way.
fn run_by(way: &Way, config: &Config) -> Runner {
    let config = Config { bootstrap_servers: way.bootstrap.clone(), access: way.access(), ..config.clone() };
    run(&config, &way.secrets(prefixes::TRIGGER))
}

/// Each record came out once, and the runner has seen it once.
async fn does_all(runner: Runner, bed: &Bed, input: &str, output: &str) {
    bed.drained(input, input).await;
    Tally::of(&bed.records(output).await, RECORDS).exactly_once();
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_comes_out_once_by_every_way_in() {
    let kafka = start().await;
    let each = ways(&kafka).map(async |(name, way)| {
        for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
            println!("{name}, {delivery:?}");
            let bed = way.bed(name);
            let (input, output) = topics(&bed).await;
            let mut config = echo(&bed, &input, Some(&output));
            config.plan.output.as_mut().expect("it has an output").delivery = delivery;
            does_all(run_by(&way, &config), &bed, &input, &output).await;
        }
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_counted_by_every_way_in() {
    let kafka = start().await;
    let each = ways(&kafka).map(async |(name, way)| {
        let bed = way.bed(&format!("dlq-{name}"));
        let letters = dead_letters(&bed.topic("in", PARTITIONS, &[]).await);
        bed.produce(&letters, &numbered(7, 50, PARTITIONS)).await;
        let access = way.access();
        let mut command = Command::new(programs::own("tidemill").expect("tidemill is built"));
        command.args(["dlq", "list", &letters, "--kafka", &way.bootstrap]).envs(way.secrets("KAFKA_"));
        if let Some(login) = &access.sasl {
            command.args(["--sasl-mechanism", &login.mechanism, "--username", &login.username]);
        }
        if access.tls {
            command.arg("--tls");
        }
        let output = command.stdin(Stdio::null()).output().await.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let row = said.lines().map(str::trim_start).find(|line| line.starts_with(&letters));
        assert!(
            row.is_some_and(|row| row.split_whitespace().nth(1) == Some("7")),
            "{name}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_secrets_are_told_and_lose_nothing() {
    let kafka = start().await;
    let [plain, plain_tls, sha256, sha512, tls, mutual] = ways(&kafka).map(|(_, way)| way);
    let authority = |name| Tls { ca: Some(kafka.pem(name).expect("a certificate")), ..Tls::default() };
    let unknown_mechanism = Way::into(&kafka, Listener::SaslPlaintext, Some("SCRAM-SHA-512"));
    let cases = [
        ("password", &plain, plain.clone().with_password("guess"), "Invalid username or password"),
        ("password-tls", &plain_tls, plain_tls.clone().with_password("guess"), "Invalid username or password"),
        ("password-256", &sha256, sha256.clone().with_password("guess"), "invalid credentials"),
        ("password-512", &sha512, sha512.clone().with_password("guess"), "invalid credentials"),
        ("mechanism", &plain, unknown_mechanism, "broker's supported mechanisms: PLAIN"),
        ("authority", &tls, tls.clone().with_tls(Some(authority("stranger.crt"))), "certificate verify failed"),
        ("no-authority", &tls, tls.clone().with_tls(Some(Tls::default())), "certificate verify failed"),
        // As librdkafka has it, these two are no clearer: docs/kubernetes.md says what they mean.
        ("no-certificate", &mutual, mutual.clone().with_tls(Some(authority("ca.crt"))), "alert bad certificate"),
        ("no-tls", &sha512, sha512.clone().with_tls(None), "in state APIVERSION_QUERY"),
    ];
    let each = cases.map(async |(name, right, wrong, words)| {
        println!("{name}");
        let bed = right.bed(name);
        let (input, output) = topics(&bed).await;
        let config = echo(&bed, &input, Some(&output));
        let runner = run_by(&wrong, &config);
        until(&format!("the log to say `{words}`"), PATIENCE, async || runner.log().contains(words).then_some(()))
            .await;
        for line in runner.log().lines().filter(|line| line.contains(words)).take(1) {
            println!("  {line}");
        }
        let totals = runner.stop().await;
        assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (0, 0, 0), "{name}");
        does_all(run_by(right, &config), &bed, &input, &output).await;
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outputs_cluster_has_secrets_of_its_own() {
    let kafka = start().await;
    let way = Way::into(&kafka, Listener::SaslTls, Some("SCRAM-SHA-512"));
    let (here, there) = (Bed::start("secured-output").await, way.bed("secured-output"));
    let (input, output) = (here.topic("in", PARTITIONS, &[]).await, there.topic("out", PARTITIONS, &[]).await);
    here.produce(&input, &numbered(RECORDS, 100, PARTITIONS)).await;
    let mut config = echo(&here, &input, Some(&output));
    config.output = Some(OtherCluster { bootstrap_servers: way.bootstrap.clone(), access: way.access() });

    let runner = run(&config, &way.clone().with_password("guess").secrets(prefixes::OUTPUT));
    let words = "invalid credentials";
    until(&format!("the log to say `{words}`"), PATIENCE, async || runner.log().contains(words).then_some(())).await;
    runner.stop().await;
    assert_eq!(there.records(&output).await, []);

    let runner = run(&config, &way.secrets(prefixes::OUTPUT));
    here.drained(&input, &input).await;
    Tally::of(&there.records(&output).await, RECORDS).exactly_once();
    assert_eq!(runner.stop().await.out, RECORDS as u64);
}
