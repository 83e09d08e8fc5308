//! Functions that fail in every way they can, on real Kafka: only the guilty record goes to the
//! dead letters, with the reason, and the others go through.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;
use std::time::Duration;
use tidemill_api::{S3Destination, plan::FailurePlan};
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered, text},
    letter::{headers, reason},
    runner::{Runner, echo, program, with},
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_embedded::s3::{ACCESS_KEY, SECRET_KEY};
use tidemill_runner::{config::Config, record::Record};
use tidemill_testbed::{programs, s3};

const RECORDS: usize = 300;
const PARTITIONS: i32 = 3;

/// A topic of numbered records, one of which is guilty, and the function that it harms.
struct Scene {
    bed: Bed,
    input: String,
    output: String,
    config: Config,
    guilty: Record,
}

impl Scene {
    /// `name` of the function's variable is set to a text that only the guilty record has.
    async fn set(test: &str, name: &str) -> Self {
        let bed = Bed::start(test).await;
        let input = bed.topic("in", PARTITIONS, &[]).await;
        let output = bed.topic("out", PARTITIONS, &[]).await;
        let config = with(echo(&bed, &input, Some(&output)), name, "poison");
        let guilty = Record {
            partition: 1,
            key: Some("guilty".into()),
            value: Some("0000150 poison, ünïcode".into()),
            headers: vec![
                ("trace".to_owned(), Some(vec![0, 0xff, 0x80])),
                ("empty".to_owned(), Some(Vec::new())),
                ("none".to_owned(), None),
            ],
            ..Record::default()
        };
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        records[150] = guilty.clone();
        bed.produce(&input, &records).await;
        Self { bed, input, output, config, guilty }
    }

    /// The one dead letter, once all was committed and every other record came out once.
    async fn letter(&self) -> Record {
        self.bed.drained(&self.input, &self.input).await;
        let tally = Tally::of(&self.bed.records(&self.output).await, RECORDS);
        assert_eq!(tally, Tally { lost: 1, repeated: 0, records: RECORDS - 1 });
        let mut letters = self.bed.records(&dead_letters(&self.input)).await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        letters.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_goes_alone_with_all_that_it_had() {
    let scene = Scene::set("poison", "FAIL_ON").await;
    let runner = Runner::start(&scene.config);
    let letter = scene.letter().await;
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (300, 299, 1));

    assert_eq!((&letter.key, &letter.value), (&scene.guilty.key, &scene.guilty.value));
    let (own, added) = letter.headers.split_at(scene.guilty.headers.len());
    assert_eq!(own, scene.guilty.headers, "its own headers come first, as they were");
    let names: Vec<_> = added.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "original-topic",
        "original-partition",
        "original-offset",
        "error-message",
        "error-type",
        "error-timestamp",
        "attempts",
    ];
    assert_eq!(names, expected);

    let headers = headers(&letter);
    assert_eq!(headers["original-topic"], scene.input);
    let original = scene.bed.records(&scene.input).await.into_iter().find(|record| record.key == letter.key);
    let original = original.expect("it is still in its topic");
    let place = (headers["original-partition"].parse(), headers["original-offset"].parse());
    assert_eq!(place, (Ok(original.partition), Ok(original.offset)));
    assert!(headers["error-message"].contains("does not like `0000150 poison, ünïcode`"), "{headers:?}");
    assert!(!headers["error-type"].is_empty());
    assert!(DateTime::parse_from_rfc3339(&headers["error-timestamp"]).is_ok(), "{headers:?}");
    let attempts: u32 = headers["attempts"].parse().expect("a number");
    assert!(attempts >= scene.config.plan.retry.attempts, "{headers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_kills_the_process_and_counts() {
    let mut scene = Scene::set("timeout", "SLEEP_ON").await;
    scene.config = with(scene.config, "SLEEP_MS", "600000");
    scene.config.plan.timeout = Duration::from_millis(300);
    let mut runner = Runner::start(&scene.config);
    runner.report("a function that is ready", |report| report.ready).await;
    let before = runner.functions();
    let letter = scene.letter().await;
    assert_eq!(reason(&letter).0, "Timeout", "{letter:?}");
    assert!(reason(&letter).1.contains("300ms"), "{letter:?}");
    let (_, metrics) = runner.admin("/metrics").await;
    let timeouts = metrics.lines().find_map(|line| line.strip_prefix("tidemill_runner_timeouts_total "));
    let timeouts: u32 = timeouts.and_then(|count| count.parse().ok()).expect("timeouts are counted");
    assert!(timeouts >= scene.config.plan.retry.attempts, "{timeouts}");
    let alive = runner.functions();
    assert!(before.iter().all(|process| !alive.contains(process)), "{before:?} was killed: {alive:?}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_counts_and_the_function_is_started_again() {
    let scene = Scene::set("crash", "EXIT_ON").await;
    let runner = Runner::start(&scene.config);
    let (kind, message) = reason(&scene.letter().await);
    assert_eq!(kind, "Crash");
    assert!(message.contains("exit code 7"), "{message}");
    assert_eq!(runner.functions().len(), 1);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_above_six_mebibytes_counts_as_failed() {
    let scene = Scene::set("big-answer", "BIG_ON").await;
    let runner = Runner::start(&scene.config);
    let (kind, message) = reason(&scene.letter().await);
    assert_eq!(kind, "Function.ResponseSizeTooLarge", "{message}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_shape_says_what_was_expected() {
    let bed = Bed::start("shape").await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    bed.produce(&input, &numbered(2, 50, 1)).await;
    let runner = Runner::start(&with(echo(&bed, &input, Some(&output)), "ANSWER", r#"{"record": []}"#));
    bed.drained(&input, &input).await;
    let letters = bed.records(&dead_letters(&input)).await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        let (kind, message) = reason(&letter);
        assert_eq!(kind, "InvalidAnswer");
        assert!(message.contains("unknown field `record`") && message.contains("expected null, or an object"));
    }
    assert_eq!(bed.records(&output).await, []);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_grows_too_old_is_given_up_before_or_between_attempts() {
    let bed = Bed::start("max-age").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 1, &[]).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison");
    config.plan.retry.attempts = 10_000;
    config.plan.retry.backoff.max = tidemill_api::Duration::from_millis(200);
    config.plan.retry.max_age = Some(tidemill_api::Duration::from_secs(3));
    bed.produce(&input, &[Record { partition: 0, ..text("0000000 old") }]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let young = [text("0000001 poison"), text("0000002 young")];
    let young: Vec<Record> = (0..).zip(young).map(|(partition, record)| Record { partition, ..record }).collect();
    bed.produce(&input, &young).await;
    bed.drained(&input, &input).await;
    let out: Vec<_> = bed.records(&output).await.into_iter().map(|record| record.value).collect();
    assert_eq!(out, [Some("0000002 young".into())]);
    let letters = bed.records(&dead_letters(&input)).await;
    let attempts = |value: &str| {
        let letter = letters.iter().find(|letter| letter.value.as_deref() == Some(value.as_bytes())).expect("a letter");
        let (kind, message) = reason(letter);
        assert!(kind == "RecordExpired" && message.contains("retry.maxAge (3s)"), "{kind}: {message}");
        headers(letter)["attempts"].parse::<u32>().expect("a number")
    };
    assert_eq!(letters.len(), 2);
    assert_eq!(attempts("0000000 old"), 0, "the function was not asked");
    assert!(attempts("0000001 poison") > 1, "it was tried until then");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_until_a_function_that_cannot_start_is_repaired() {
    let bed = Bed::start("init").await;
    let input = bed.topic("in", PARTITIONS, &[]).await;
    let output = bed.topic("out", PARTITIONS, &[]).await;
    bed.produce(&input, &numbered(RECORDS, 50, PARTITIONS)).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("bootstrap");
    let mut config = echo(&bed, &input, Some(&output));
    let works = programs::own("echo").expect("it is built");
    config.code = tidemill_e2e::runner::program(&[&program.display().to_string()], None);

    let mut runner = Runner::start(&config);
    let failing = runner.report("why it fails", |report| report.failing.is_some()).await.failing;
    let failing = failing.expect("it says why");
    assert!(failing.contains(&program.display().to_string()), "{failing}");
    assert_eq!(runner.admin("/ready").await.0, 503);
    assert_eq!(runner.admin("/live").await.0, 200);
    assert_eq!(bed.lag(&input, &input).await, RECORDS as i64, "the records wait");

    std::os::unix::fs::symlink(&works, &program).expect("the folder can be written");
    runner.report("a function that is ready", |report| report.ready).await;
    runner.answers("/ready", 200).await;
    bed.drained(&input, &input).await;
    Tally::of(&bed.records(&output).await, RECORDS).exactly_once();
    assert_eq!(bed.records(&dead_letters(&input)).await, [], "waiting is not failing");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_waits_for_its_function_stops_when_told() {
    let bed = Bed::start("stop-waiting").await;
    let input = bed.topic("in", 1, &[]).await;
    bed.produce(&input, &numbered(10, 50, 1)).await;
    let mut config = echo(&bed, &input, None);
    let missing = programs::own("echo").expect("it is built").with_file_name("no-such").display().to_string();
    config.code = program(&[&missing], None);
    let mut runner = Runner::start(&config);
    runner.report("why it fails", |report| report.failing.is_some()).await;
    let asked = std::time::Instant::now();
    let totals = runner.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    assert_eq!(totals.r#in, 0);
    assert_eq!(bed.lag(&input, &input).await, 10, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_partitions_go_on_while_one_is_retried() {
    let bed = Bed::start("off-poll").await;
    let input = bed.topic("in", 2, &[]).await;
    let output = bed.topic("out", 2, &[]).await;
    let guilty = Record { partition: 0, ..text("0000000 poison") };
    bed.produce(&input, &[guilty]).await;
    let mut config = with(echo(&bed, &input, Some(&output)), "FAIL_ON", "poison");
    config.plan.retry.attempts = 10_000;
    config.plan.retry.backoff.max = tidemill_api::Duration::from_millis(500);
    let mut runner = Runner::start(&config);
    runner.report("retries", |report| report.totals.invocations >= 3).await;
    let others = numbered(101, 50, 1).into_iter().skip(1).map(|record| Record { partition: 1, ..record });
    bed.produce(&input, &others.collect::<Vec<_>>()).await;
    let tally = Tally::of(&bed.records_when(&output, 100).await, 101);
    assert_eq!(tally, Tally { lost: 1, repeated: 0, records: 100 });
    runner.stop().await;
    assert_eq!(bed.lag(&input, &input).await, 1, "nor is it when the runner stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_record_is_kept_in_a_bucket_when_s3_is_back() {
    let scene = Scene::set("bucket", "FAIL_ON").await;
    let mut config = scene.config.clone();
    let bucket = "e2e-failed".to_owned();
    config.plan.on_failure = FailurePlan::S3(S3Destination { bucket, prefix: "why/".to_owned() });
    let s3 = s3::start().expect("S3 starts");
    let bucket = s3.folder().join("objects/e2e-failed");
    let file = format!("why/{}/{}/1/{:020}.json", config.plan.full_name(), scene.input, 50);
    // A bucket that is no folder cannot be written: S3 refuses, and the record waits.
    drop(std::fs::remove_dir_all(&bucket));
    std::fs::create_dir_all(s3.folder().join("objects")).expect("a folder");
    std::fs::write(&bucket, "").expect("a file");
    let endpoint = format!("http://{}", s3.address);
    let variables = [
        ("AWS_ENDPOINT_URL_S3", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let runner = Runner::start_with(&config, &variables);
    until("S3 to refuse", PATIENCE, async || runner.log().contains("is not kept yet").then_some(())).await;
    assert!(scene.bed.lag(&scene.input, &scene.input).await > 0, "nothing is committed before it is kept");
    std::fs::remove_file(&bucket).expect("it is there");
    std::fs::create_dir_all(&bucket).expect("a bucket");
    scene.bed.drained(&scene.input, &scene.input).await;
    let text = std::fs::read_to_string(bucket.join(&file)).expect("the object is there");
    let object: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(object["original-offset"], "50");
    assert!(object["error-message"].as_str().is_some_and(|text| text.contains("does not like")), "{object}");
    let value = STANDARD.decode(object["valueBase64"].as_str().expect("a value")).expect("base64");
    assert_eq!(Some(value.as_slice()), scene.guilty.value.as_deref());
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.dead_lettered), (RECORDS as u64, 1));
}
