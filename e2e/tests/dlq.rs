//! `tidemill dlq` on real Kafka: letters are counted, shown and sent back; a replay that is killed
//! in the middle leaves nothing out.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
    time::{Duration, Instant},
};
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    letter::headers,
    process,
    runner::{Runner, echo, with},
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_runner::record::Record;
use tidemill_testbed::programs;
use tokio::process::Command;

const PARTITIONS: i32 = 3;

fn command(bed: &Bed, words: &[&str]) -> Command {
    let mut command = Command::new(programs::own("tidemill").expect("tidemill is built"));
    command.arg("dlq").args(words).args(["--kafka", bed.connection.bootstrap()]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn dlq(bed: &Bed, words: &[&str]) -> Output {
    let output = command(bed, words).output();
    tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").expect("it can be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON document that it printed, with that exit code.
async fn answer(bed: &Bed, code: i32, words: &[&str]) -> Value {
    let output = dlq(bed, &[words, &["--output", "json"]].concat()).await;
    assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn header(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

/// A letter as a runner writes it, in the partition that its record was in.
fn letter(topic: &str, record: Record, kind: &str, failed_at: &str) -> Record {
    let mut letter = record;
    letter.headers.extend([
        header("original-topic", topic),
        header("original-partition", &letter.partition.to_string()),
        header("original-offset", "7"),
        header("error-message", "it went wrong"),
        header("error-type", kind),
        header("error-timestamp", failed_at),
        header("attempts", "3"),
    ]);
    letter
}

/// A topic and that of its dead letters, with `count` letters: every third a `Crash` of the year
/// 2025, the others `Timeout`s of 2026. Their records had a header `trace`.
async fn scene(test: &str, count: usize) -> (Bed, String, String) {
    let bed = Bed::start(test).await;
    let topic = bed.topic("in", PARTITIONS, &[]).await;
    let letters = dead_letters(&topic);
    let records = numbered(count, 50, PARTITIONS).into_iter().enumerate().map(|(number, mut record)| {
        record.headers = vec![header("trace", &number.to_string())];
        let (kind, time) = match number % 3 {
            0 => ("Crash", "2025-06-01T00:00:00.000Z"),
            _ => ("Timeout", "2026-01-02T03:04:05.678Z"),
        };
        letter(&topic, record, kind, time)
    });
    bed.produce(&letters, &records.collect::<Vec<_>>()).await;
    (bed, topic, letters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_a_runner_are_told_and_go_through_it_again() {
    let bed = Bed::start("dlq-round").await;
    let (topic, output) = (bed.topic("in", PARTITIONS, &[]).await, bed.topic("out", PARTITIONS, &[]).await);
    let letters = dead_letters(&topic);
    let mut records = numbered(30, 50, PARTITIONS);
    records[10].headers = vec![("bytes".to_owned(), Some(vec![0xff])), header("attempts", "own")];
    bed.produce(&topic, &records).await;
    let config = echo(&bed, &topic, Some(&output));
    let runner = Runner::start(&with(config.clone(), "FAIL_ON", "0000010"));
    let dead = bed.records_when(&letters, 1).await.remove(0);
    bed.drained(&topic, &topic).await;
    runner.stop().await;

    let listed = answer(&bed, 0, &["list", &letters]).await;
    assert_eq!((&listed[0]["topic"], &listed[0]["records"]), (&json!(letters), &json!(1)));
    let kind = String::from_utf8(dead.headers[6].1.clone().expect("a value")).expect("text");
    assert_eq!(listed[0]["errorTypes"], json!({kind.as_str(): 1}));
    assert!(listed[0]["oldest"].is_string() && listed[0]["oldest"] == listed[0]["newest"], "{listed}");

    let shown = answer(&bed, 0, &["show", &letters]).await;
    assert_eq!((&shown[0]["key"], shown.as_array().map(Vec::len)), (&json!("10"), Some(1)), "{shown}");
    assert_eq!(shown[0]["headers"][0], json!({"name": "bytes", "value": null, "valueBase64": "/w=="}));
    assert_eq!(shown[0]["reason"]["originalTopic"], json!(topic));
    assert!(shown[0]["reason"]["errorMessage"].as_str().is_some_and(|text| text.contains("does not like")), "{shown}");

    // The function likes it now.
    let summary = answer(&bed, 0, &["replay", &letters]).await;
    assert_eq!((&summary["letters"], &summary["to"]), (&json!(1), &json!({topic.as_str(): 1})));
    let runner = Runner::start(&config);
    bed.drained(&topic, &topic).await;
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (1, 1, 0));
    let tally = Tally::of(&bed.records(&output).await, 30);
    assert_eq!(tally, Tally { lost: 0, repeated: 0, records: 30 });

    let sent: Vec<_> = bed.records(&topic).await.into_iter().filter(|record| record.key == records[10].key).collect();
    let [first, again] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((first.partition, &first.value), (again.partition, &again.value));
    let mut expected = first.headers.clone();
    expected.push(header("replayed-from", &format!("{letters}-{}@{}", dead.partition, dead.offset)));
    assert_eq!(again.headers, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_goes_on_and_leaves_nothing_out() {
    const LETTERS: usize = 3_000;
    let (bed, topic, letters) = scene("dlq-kill", LETTERS).await;
    let mut first = command(&bed, &["replay", &letters, "--rate", "500"]).spawn().expect("it starts");
    let some = bed.records_when(&topic, LETTERS / 5).await.len();
    process::signal(first.id().expect("it runs") as i32, Signal::SIGKILL);
    let status = first.wait().await.expect("it can be waited for");
    assert_eq!(status.code(), None, "it was killed after {some} and had not ended before");
    let before = bed.records(&topic).await.len();
    assert!(before < LETTERS, "{before}");

    let second = answer(&bed, 0, &["replay", &letters]).await;
    let sent = second["letters"].as_u64().expect("a number") as usize;
    // It goes on: at most the batch that was under way is sent twice.
    assert!(sent < LETTERS && sent + before <= LETTERS + 100, "{sent} after {before}");
    let tally = Tally::of(&bed.records(&topic).await, LETTERS);
    assert_eq!(tally.lost, 0, "{tally:?}");
    let third = answer(&bed, 0, &["replay", &letters]).await;
    assert_eq!(third["letters"], 0);

    let again = answer(&bed, 0, &["replay", &letters, "--from-start"]).await;
    assert_eq!(again["letters"], LETTERS);
    // As many and no more: it remembers that too.
    assert_eq!(answer(&bed, 0, &["replay", &letters]).await["letters"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_choose_and_each_choice_remembers_for_itself() {
    let (bed, topic, letters) = scene("dlq-filter", 30).await;
    let elsewhere = bed.topic("elsewhere", 1, &[]).await;
    let cases: [(&[&str], usize); 8] = [
        (&[], 30),
        (&["--error-type", "Crash"], 10),
        (&["--key", "7"], 1),
        (&["--original-topic", &topic], 30),
        (&["--original-topic", "other"], 0),
        (&["--since", "2026-01-01T00:00:00Z"], 20),
        (&["--until", "2026-01-01T00:00:00Z", "--key", "3"], 1),
        (&["--offset", "0:3", "--offset", "2:0", "--offset", "2:999"], 2),
    ];
    for (words, expected) in cases {
        let shown = answer(&bed, 0, &[&["show", &letters, "--limit", "100"], words].concat()).await;
        assert_eq!(shown.as_array().map(Vec::len), Some(expected), "{words:?}: {shown}");
        let dry = answer(&bed, 0, &[&["replay", &letters, "--dry-run"], words].concat()).await;
        assert_eq!((&dry["letters"], dry["plan"].as_array().map_or(0, Vec::len)), (&json!(expected), expected));
    }
    assert_eq!(bed.records(&topic).await.len(), 0, "a dry run sends nothing");
    let shown = answer(&bed, 0, &["show", &letters, "--limit", "5"]).await;
    let newest = shown.as_array().expect("a list").iter().all(|letter| letter["reason"]["errorType"] == "Timeout");
    assert!(newest && shown.as_array().map(Vec::len) == Some(5), "{shown}");

    let crashes = ["replay", &letters, "--error-type", "Crash"];
    let summary = answer(&bed, 0, &crashes).await;
    assert_eq!((&summary["letters"], &summary["passedOver"]), (&json!(10), &json!(20)));
    assert_eq!(answer(&bed, 0, &crashes).await["letters"], 0, "they were sent");
    let trial = answer(&bed, 0, &["replay", &letters, "--key", "7", "--to", &elsewhere]).await;
    assert_eq!(trial["to"], json!({elsewhere.as_str(): 1}));
    // What the filters left out, and what went elsewhere, is still to be sent back.
    let all = answer(&bed, 0, &["replay", &letters]).await;
    assert_eq!(all["letters"], 30);
    let sent = bed.records(&topic).await;
    assert_eq!(sent.len(), 40);
    for record in &sent {
        let names: BTreeSet<_> = headers(record).into_keys().collect();
        assert_eq!(names, BTreeSet::from(["replayed-from", "trace"]));
        let number: i32 = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).parse().expect("a number");
        assert_eq!(record.partition, number % PARTITIONS, "it is back in its partition");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_and_ctrl_c_ends_between_batches() {
    let (bed, topic, letters) = scene("dlq-rate", 100).await;
    let began = Instant::now();
    let summary = answer(&bed, 0, &["replay", &letters, "--rate", "50"]).await;
    let took = began.elapsed();
    assert_eq!(summary["letters"], 100);
    assert!((Duration::from_millis(1_900)..Duration::from_secs(10)).contains(&took), "{took:?}");

    let slow = ["replay", &letters, "--rate", "10", "--from-start", "--output", "json"];
    let child = command(&bed, &slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    bed.records_when(&topic, 110).await;
    process::signal(child.id().expect("it runs") as i32, Signal::SIGINT);
    let output = child.wait_with_output().await.expect("it can be waited for");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("goes on where it was"), "{}", said(&output));
    let stopped: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rest = answer(&bed, 0, &["replay", &letters]).await;
    let counts = [&stopped, &rest].map(|summary| summary["letters"].as_u64().expect("a number"));
    assert_eq!(counts.iter().sum::<u64>(), 100, "nothing twice where it was asked to end: {counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_replayed_is_named_and_stays() {
    let (bed, topic, letters) = scene("dlq-strange", 3).await;
    let stranger = Record { partition: 1, key: Some("stranger".into()), ..Record::default() };
    bed.produce(&letters, &[stranger]).await;
    let summary = answer(&bed, 1, &["replay", &letters]).await;
    assert_eq!(summary["letters"], 3);
    let skipped = summary["skipped"].as_object().expect("reasons").values().next().expect("one");
    assert_eq!(skipped, &json!({"letters": 1, "first": "1:1"}));
    let sent = answer(&bed, 0, &["replay", &letters, "--offset", "1:1", "--to", &topic]).await;
    assert_eq!((&sent["letters"], bed.records(&topic).await.len()), (&json!(1), 4));

    // Its topic is missing: the replay ends before it, and goes on once it is there.
    let gone = bed.unique("gone");
    let record = Record { partition: 2, key: Some("late".into()), ..Record::default() };
    bed.produce(&letters, &[letter(&gone, record, "Crash", "2026-01-02T03:04:05.678Z")]).await;
    let output = dlq(&bed, &["replay", &letters]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(&format!("no topic `{gone}`")) && said(&output).contains("--to"),
        "{}",
        said(&output)
    );
    bed.make(&gone, 3, &[]).await;
    let arrived = until("the topic to be known", PATIENCE, async || {
        dlq(&bed, &["replay", &letters]).await.status.success().then_some(bed.records(&gone).await)
    });
    assert_eq!(arrived.await.len(), 1);

    let cases: [(&[&str], &str); 7] = [
        (&["show", &topic.replace(".in", ".inn")], "did you mean"),
        (&["list", "nobody-has-this"], "no topic `nobody-has-this`"),
        (&["replay", &letters, "--to", "nobody-has-this"], "no topic `nobody-has-this`"),
        (&["replay", &letters, "--to", &letters], "name another one"),
        (&["replay", "nobody-has-this"], "tidemill dlq list"),
        (&["replay", &letters, "--offset", "0:999"], "has no letter at 0:999: partition 0 has 0 to 0"),
        (&["replay", &letters, "--offset", "9:0"], "has no letter at 9:0: it has the partitions 0 to 2"),
    ];
    for (words, expected) in cases {
        let output = dlq(&bed, words).await;
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(said(&output).contains(expected), "{words:?}: {}", said(&output));
    }
}
