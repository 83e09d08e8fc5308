//! The other ways to a function: a package from S3, a schedule; and topics with their schemas.

use serde_json::Value;
use std::{
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tidemill_e2e::{
    bed::numbered,
    kube::{Kube, PATIENCE, echo, kafka_cluster},
    tally::Tally,
    wait::until,
};
use tidemill_runner::record::Record;
use tidemill_testbed::{programs, registry, s3};

/// A zip with the echo function as its `bootstrap`, in the testbed's S3; answers its digest.
async fn package(bucket: &str, key: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let echo = programs::own("echo").expect("echo is built");
    std::fs::copy(echo, folder.path().join("bootstrap")).expect("a copy");
    let zip = folder.path().join("echo.zip");
    programs::run(
        Command::new("python3").current_dir(&folder).args(["-m", "zipfile", "-c"]).arg(&zip).arg("bootstrap"),
    )
    .expect("a zip");
    let sum = programs::answer(Command::new("sha256sum").arg(&zip)).expect("a digest");
    let service = tokio::task::spawn_blocking(|| s3::start().expect("S3 starts")).await.expect("no panic");
    let objects = service.folder().join("objects").join(bucket);
    std::fs::create_dir_all(&objects).expect("a bucket");
    std::fs::copy(zip, objects.join(key)).expect("an object");
    sum.split_whitespace().next().expect("a digest").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_is_fetched_checked_and_run() {
    let kube = Kube::start("package").await;
    let input = kube.bed.topic("in", 2, &[]).await;
    let output = kube.bed.topic("out", 2, &[]).await;
    let sha256 = package("code", "echo.zip").await;
    let endpoint = format!("http://{}", kube.cluster.address_for_pods(29_000));
    let manifest = |name: &str, sha256: &str| {
        format!(
            r#"apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {{name: {name}}}
spec:
  package: {{s3: {{bucket: code, key: echo.zip, sha256: {sha256}}}}}
  concurrency: 2
  env:
    - {{name: AWS_ENDPOINT_URL_S3, value: "{endpoint}"}}
    - {{name: AWS_ACCESS_KEY_ID, value: tidemill}}
    - {{name: AWS_SECRET_ACCESS_KEY, value: tidemill-local}}
  trigger: {{kafka: {{cluster: main, topics: ["{input}"], group: "{input}.{name}"}}}}
  output: {{topic: "{output}"}}
  scaling: {{min: 0, max: 1, cooldown: 3s}}
"#
        )
    };
    kube.apply(&manifest("package", &sha256)).expect("it is accepted");
    kube.condition("fn", "package", "Ready", "True").await;
    kube.bed.produce(&input, &numbered(500, 100, 2)).await;
    kube.bed.drained(&format!("{input}.package"), &input).await;
    Tally::of(&kube.bed.records(&output).await, 500).exactly_once();

    let other = sha256.chars().rev().collect::<String>();
    kube.apply(&manifest("changed", &other)).expect("it is accepted");
    let message = kube.because("fn", "changed", "Ready", "InitFailed").await;
    assert!(message.contains("SHA-256") && message.contains(&sha256), "{message}");
    assert_eq!(kube.bed.lag(&format!("{input}.changed"), &input).await, 500, "its records wait");

    // The runner of an image has what it needs to keep failed records in S3.
    let kept = manifest("kept", &sha256)
        .replace(
            &format!("package: {{s3: {{bucket: code, key: echo.zip, sha256: {sha256}}}}}"),
            "image: tidemill/echo:0.1.0\n  onFailure: {s3: {bucket: code, prefix: failed/}}\n  retry: {attempts: 1}",
        )
        .replace("  env:\n", "  env:\n    - {name: REPORT_ON, value: \"0000007\"}\n");
    kube.apply(&kept).expect("it is accepted");
    kube.bed.drained(&format!("{input}.kept"), &input).await;
    let objects = s3::service().expect("a service").folder().join("objects/code/failed");
    let found = programs::answer(Command::new("find").arg(objects).args(["-path", &format!("*/kept/{input}/*.json")]));
    assert_eq!(found.expect("a listing").lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_fires_once_each_time_and_rests_between() {
    let kube = Kube::start("schedule").await;
    let output = kube.bed.topic("out", 1, &[]).await;
    let answer = r#"{"records":[{"key":"k","value":"tick"}]}"#;
    let manifest = format!(
        r#"apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {{name: clock}}
spec:
  image: tidemill/echo:0.1.0
  env: [{{name: ANSWER, value: '{answer}'}}]
  trigger: {{schedule: {{cron: "* * * * *", timeZone: Asia/Seoul}}}}
  output: {{cluster: main, topic: "{output}"}}
  scaling: {{min: 0, max: 1, cooldown: 3s}}
"#
    );
    // Early in a minute, so that the next one does not begin before that was looked at.
    let into_minute = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs() % 60;
    if into_minute > 30 {
        tokio::time::sleep(Duration::from_secs(60 - into_minute)).await;
    }
    kube.apply(&manifest).expect("it is accepted");
    kube.condition("fn", "clock", "Accepted", "True").await;
    assert!(kube.pods("clock").is_empty(), "it rests until it is time");
    let fired = async |count: usize| {
        until("a firing", PATIENCE, async || (kube.bed.records(&output).await.len() >= count).then_some(())).await;
    };
    fired(1).await;
    let last = until("the firing to be crossed out", Duration::from_secs(10), async || {
        let status = kube.get("fn", "clock")["status"].clone();
        status["pendingScheduleTime"].is_null().then(|| status["lastScheduleTime"].as_str().map(str::to_owned))?
    })
    .await;
    assert!(last.ends_with(":00Z"), "{last}");
    kube.replicas("clock", 0).await;
    fired(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kube.bed.records(&output).await.len(), 2, "once each time");
}

fn topic(name: &str, kafka_name: &str, rest: &str) -> String {
    format!(
        "apiVersion: tidemill.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec:\n  cluster: main\n  topicName: {kafka_name}\n{rest}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_grow_keep_their_settings_and_go_as_declared() {
    let kube = Kube::start("topics").await;
    let name = kube.bed.unique("t");
    let describe = || {
        let metadata = kube.bed.connection.metadata(Some(&name)).expect("the broker answers");
        let found = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
        found.map(|topic| topic.partitions().len())
    };
    let settings = "  config: {retention.ms: \"3600000\", compression.type: lz4}\n";
    kube.apply(&topic("t", &name, &format!("  partitions: 2\n{settings}"))).expect("it is accepted");
    kube.condition("kt", "t", "Ready", "True").await;
    assert_eq!(describe(), Some(2));
    kube.apply(&topic("t", &name, &format!("  partitions: 5\n{settings}"))).expect("it may grow");
    kube.condition("kt", "t", "Ready", "True").await;
    assert_eq!(describe(), Some(5));
    let refused = kube.apply(&topic("t", &name, "  partitions: 3\n")).expect_err("it cannot shrink");
    assert!(refused.contains("can only grow"), "{refused}");
    // Somebody changes Kafka by hand: the next reconcile puts it back.
    kube.bed.configure(&name, "retention.ms", "1").await;
    kube.apply(&topic("t", &name, "  partitions: 5\n  config: {retention.ms: \"3600000\", compression.type: zstd}\n"))
        .expect("it is accepted");
    until("the drift to be told", PATIENCE, async || {
        let events = kube.run(&["get", "events", "--field-selector", "involvedObject.name=t"]);
        (events.contains("DriftCorrected") && events.contains("retention.ms")).then_some(())
    })
    .await;
    let wrong = topic("w", &kube.bed.unique("w"), "  partitions: 1\n  config: {retention.ms: soon}\n");
    kube.apply(&wrong).expect("the API server cannot know");
    let message = kube.because("kt", "w", "Ready", "RefusedByKafka").await;
    assert!(message.contains("change the field"), "{message}");

    // The default keeps the records; `Delete` deletes them.
    kube.run(&["delete", "kt", "t", "w"]);
    assert_eq!(describe(), Some(5), "the topic is still there");
    kube.apply(&topic("t", &name, "  partitions: 5\n  deletionPolicy: Delete\n")).expect("it is accepted");
    kube.condition("kt", "t", "Ready", "True").await;
    kube.run(&["delete", "kt", "t"]);
    until("the topic to go", PATIENCE, async || describe().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_registered_and_read_by_and_an_incompatible_one_refused() {
    let kube = Kube::bare("schemas").await;
    tokio::task::spawn_blocking(|| registry::start().expect("the registry starts")).await.expect("no panic");
    let url = format!("http://{}/apis/ccompat/v7", kube.cluster.address_for_pods(28_081));
    kube.apply(&format!(
        "{}  schemaRegistry: {{url: \"{url}\"}}\n",
        kafka_cluster("main").replace("spec: {bootstrapServers: ", "spec:\n  bootstrapServers: ").replace("]}", "]")
    ))
    .expect("a KafkaCluster");
    let name = kube.bed.unique("s");
    let schema = |fields: &str| {
        let proto = format!("    syntax = \"proto3\";\n    message Tick {{ {fields} }}\n");
        topic(
            "s",
            &name,
            &format!(
                "  partitions: 1\n  valueSchema:\n    type: PROTOBUF\n    schema: |\n  {}\n",
                proto.replace('\n', "\n  ")
            ),
        )
    };
    kube.apply(&schema("string symbol = 1; int64 price = 2;")).expect("it is accepted");
    kube.condition("kt", "s", "Ready", "True").await;
    let own = registry::url(&registry::service().expect("the registry"));
    let subjects = reqwest::get(format!("{own}/subjects/{name}-value/versions")).await.expect("it answers");
    assert_eq!(subjects.json::<Value>().await.expect("JSON"), serde_json::json!([1]));

    // A function on the topic gets JSON.
    let version = reqwest::get(format!("{own}/subjects/{name}-value/versions/1")).await.expect("it answers");
    let version: Value = version.json().await.expect("JSON");
    let id = u32::try_from(version["id"].as_u64().expect("an id")).expect("a small one").to_be_bytes();
    let framed = [&[0], &id[..], b"\x00\x0a\x03BTC\x10\x0c"].concat();
    kube.bed.produce(&name, &[Record { value: Some(framed.into()), ..Record::default() }]).await;
    let output = kube.bed.topic("json", 1, &[]).await;
    kube.apply(&echo("reader", &name, &output, "")).expect("it is accepted");
    let came = kube.bed.records_when(&output, 1).await;
    assert_eq!(came[0].value.as_deref(), Some(&br#"{"symbol":"BTC","price":"12"}"#[..]));

    kube.apply(&schema("int64 symbol = 1; string price = 2;")).expect("the API server cannot know");
    let since = Instant::now();
    let message = kube.because("kt", "s", "Ready", "SchemaRefused").await;
    println!("an incompatible schema was refused after {:.1} s: {message}", since.elapsed().as_secs_f64());
    assert!(message.contains("409"), "{message}");
}
