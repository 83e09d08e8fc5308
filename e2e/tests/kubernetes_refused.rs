//! What a cluster says of manifests that cannot be carried out: the API server at once, the
//! operator by a condition, and what was missing is found when it comes.

use tidemill_api::{check, manifest};
use tidemill_e2e::{
    bed::{numbered, text},
    kube::{Kube, OPERATOR, echo, kafka_cluster, kubectl},
};
use tidemill_testbed::kafka::{Cluster as Kafka, MECHANISM, PASSWORD, Size, USER};

/// A whole manifest in which a test breaks one thing.
const WHOLE: &str = r#"apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {name: broken}
spec:
  image: tidemill/echo:0.1.0
  timeout: 30s
  concurrency: 1
  trigger:
    kafka:
      cluster: main
      topics: [in]
      start: earliest
      batch: {maxRecords: 100, window: 500ms, maxBytes: 6MiB}
      ordering: partition
  output: {topic: out, delivery: atLeastOnce}
  retry: {attempts: 3, backoff: {initial: 200ms, max: 30s}}
  scaling: {min: 0, max: 12, drainTarget: 10s}
"#;

const IMAGE: &str = "  image: tidemill/echo:0.1.0\n";
/// And a package, without its digest.
const BOTH: &str =
    "  image: tidemill/echo:0.1.0\n  package: {s3: {bucket: functions, key: echo.zip, sha256: DIGEST}}\n";

/// What is replaced, by what, and what the message must say.
const BROKEN: [(&str, &str, &str); 23] = [
    (IMAGE, "", "exactly one of `image` and `package`"),
    (IMAGE, BOTH, "exactly one of `image` and `package`"),
    ("timeout: 30s", "timeout: soon", "timeout"),
    ("timeout: 30s", "timeout: 0s", "`timeout` must be above 0s"),
    ("concurrency: 1", "concurrency: 0", "concurrency"),
    ("concurrency: 1", "concurency: 1", "concurency"),
    ("topics: [in]", "topics: []", "topics"),
    ("topics: [in]", "topics: [in put]", "topics"),
    ("      cluster: main\n", "", "cluster"),
    ("start: earliest", "start: yesterday", "start"),
    ("maxRecords: 100", "maxRecords: 0", "maxRecords"),
    ("maxRecords: 100", "maxRecords: many", "maxRecords"),
    ("window: 500ms", "window: 6m", "`window` must be at most 5m"),
    ("maxBytes: 6MiB", "maxBytes: 6MB", "maxBytes"),
    ("maxBytes: 6MiB", "maxBytes: 0KiB", "`maxBytes` must be above 0"),
    (
        "}\n      ordering: partition\n  output: {topic: out, delivery: atLeastOnce}",
        ", spanPartitions: true}\n      ordering: partition\n  output: {topic: out, delivery: exactlyOnce}",
        "`batch.spanPartitions` does not go with",
    ),
    ("attempts: 3", "attempts: 3, maxAge: 0s", "`maxAge` must be above 0s"),
    ("ordering: partition", "ordering: random", "ordering"),
    ("delivery: atLeastOnce", "delivery: atMostOnce", "delivery"),
    ("attempts: 3", "attempts: 0", "attempts"),
    ("min: 0, max: 12", "min: 5, max: 2", "`min` must not be above `max`"),
    ("drainTarget: 10s", "drainTarget: 10s, lagPerReplica: 5", "at most one of `drainTarget` and `lagPerReplica`"),
    ("output: {topic: out", "onFailure: {topic: in}\n  output: {topic: out", "`onFailure.topic` must not be one of"),
];

fn with_digest(manifest: &str) -> String {
    manifest.replace("DIGEST", &format!("'{}'", "0".repeat(64)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_refuses_what_validate_refuses_and_names_the_field() {
    let kube = Kube::start("refused").await;
    for (right, wrong, words) in BROKEN {
        let broken = with_digest(&WHOLE.replacen(right, wrong, 1));
        assert_ne!(broken, WHOLE, "`{right}` is in the manifest");
        let answer = kube.apply(&broken).expect_err(&format!("`{wrong}` must be refused"));
        assert!(answer.contains(words), "{wrong}: the API server says: {answer}");
        let documents = manifest::documents(&broken).expect("it is YAML");
        let problems = check::resource(&documents[0]).expect_err(&format!("`{wrong}` must be refused by validate"));
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|problem| problem.contains(words)), "{wrong}: validate says: {said:?}");
    }
    let package = BOTH.strip_prefix(IMAGE).expect("it begins with the image");
    for whole in [WHOLE.to_owned(), with_digest(&WHOLE.replace(IMAGE, package))] {
        let documents = manifest::documents(&whole).expect("it is YAML");
        check::resource(&documents[0]).expect("validate accepts the whole manifest");
        kube.apply(&whole).expect("the API server accepts it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_operator_can_know_is_a_condition() {
    let kube = Kube::start("conditions").await;
    let schedule = "  trigger: {schedule: {cron: CRON, timeZone: ZONE}}\n";
    let with_trigger = |trigger: &str| {
        let kafka = WHOLE.find("  trigger:").zip(WHOLE.find("  output:")).expect("both are there");
        format!("{}{trigger}{}", &WHOLE[..kafka.0], &WHOLE[kafka.1..])
    };
    let cases = [
        ("nowhere", WHOLE.replace("cluster: main", "cluster: elsewhere"), "ClusterNotFound", "create it"),
        (
            "stranger",
            WHOLE.replace("cluster: main", "cluster: kube-system/main"),
            "ClusterNotFound",
            "allowedNamespaces",
        ),
        ("exactly", WHOLE.replace("atLeastOnce", "exactlyOnce, cluster: second"), "Unsupported", "use atLeastOnce"),
        (
            "cron",
            with_trigger(&schedule.replace("CRON", "\"61 * * * *\"").replace("ZONE", "UTC")),
            "InvalidSpec",
            "spec.trigger.schedule.cron",
        ),
        (
            "zone",
            with_trigger(&schedule.replace("CRON", "\"* * * * *\"").replace("ZONE", "Mars/Olympus")),
            "InvalidSpec",
            "spec.trigger.schedule.timeZone",
        ),
        (
            "secret",
            WHOLE.replace("  concurrency: 1", "  envFrom: [{secretRef: {name: absent}}]"),
            "SecretNotFound",
            "absent",
        ),
        (
            "paused",
            WHOLE.replace("{name: broken}", "{name: broken, annotations: {tidemill.dev/paused: \"maybe\"}}"),
            "InvalidSpec",
            "tidemill.dev/paused",
        ),
    ];
    for (name, yaml, reason, words) in cases {
        // With replicas asked for, a pod would be there if it were accepted.
        let yaml = yaml.replace("min: 0", "min: 1");
        assert!(yaml.contains("min: 1"), "{name}: {yaml}");
        kube.apply(&yaml.replace("name: broken", &format!("name: {name}"))).expect("the API server cannot know");
        let (found, message) = kube.condition("fn", name, "Accepted", "False").await;
        assert_eq!(found, reason, "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
        assert!(kube.pods(name).is_empty(), "{name}: no pod, no restart loop");
        let events = kube.run(&["get", "events", "--field-selector", &format!("involvedObject.name={name}")]);
        assert!(events.contains(reason), "{name}: {events}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missing_is_found_when_it_comes() {
    let kube = Kube::bare("supplied").await;
    let (input, output) = (kube.bed.unique("in"), kube.bed.unique("out"));
    let more = "  env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: late, key: token}}}]\n  scaling: {min: 0, max: 2, cooldown: 3s}\n";
    kube.apply(&echo("echo", &input, &output, more)).expect("it is accepted");
    let message = kube.because("fn", "echo", "Accepted", "ClusterNotFound").await;
    assert!(message.contains("create it"), "{message}");
    kube.apply(&kafka_cluster("main")).expect("a KafkaCluster");
    kube.because("fn", "echo", "Accepted", "SecretNotFound").await;
    kube.run(&["create", "secret", "generic", "late", "--from-literal=token=first"]);
    let message = kube.because("fn", "echo", "Ready", "TopicNotFound").await;
    assert!(message.contains(&input) && message.contains("create a Topic"), "{message}");
    let topic = |name: &str, topic: &str| {
        format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}}}\nspec: {{cluster: main, topicName: {topic}, partitions: 2}}\n---\n"
        )
    };
    kube.apply(&[topic("in", &input), topic("out", &output)].concat()).expect("topics");
    kube.condition("fn", "echo", "Ready", "True").await;
    kube.bed.produce(&input, &numbered(10, 50, 2)).await;
    kube.bed.drained(&input, &input).await;
    assert_eq!(kube.bed.records(&output).await.len(), 10);
    // A rotated secret replaces the pods.
    kube.run(&["scale", "fn", "echo", "--replicas=1"]);
    kube.replicas("echo", 1).await;
    let before = kube.pods("echo");
    kube.run(&["patch", "secret", "late", "-p", r#"{"stringData":{"token":"second"}}"#]);
    kube.replaced("echo", &before).await;
    kube.bed.produce(&input, &[text("after")]).await;
    kube.bed.drained(&input, &input).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_cannot_run_says_why_in_the_functions_status() {
    let kube = Kube::start("cannot-run").await;
    let input = kube.bed.topic("in", 1, &[]).await;
    let output = kube.bed.topic("out", 1, &[]).await;
    let one = "  scaling: {min: 1, max: 1}\n";
    let absent = echo("absent", &input, &output, one).replace("tidemill/echo:0.1.0", "tidemill/no-such:1");
    kube.apply(&absent).expect("it is accepted");
    let message = kube.because("fn", "absent", "Ready", "ImageUnavailable").await;
    assert!(message.contains("no-such"), "{message}");
    let wrong = echo("wrong", &input, &output, "  env: [{name: SLEEP_MS, value: long}]\n  scaling: {min: 1, max: 1}\n");
    kube.apply(&wrong).expect("it is accepted");
    let message = kube.because("fn", "wrong", "Ready", "InitFailed").await;
    assert!(message.contains("exit code") && message.contains("SLEEP_MS"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clusters_password_comes_from_its_secret_and_is_shown_nowhere() {
    let kube = Kube::bare("password").await;
    let input = kube.bed.topic("in", 1, &[]).await;
    let output = kube.bed.topic("out", 1, &[]).await;
    let servers = Kafka::new(Size::One).expect("the testbed's Kafka").bootstrap_for_users();
    let cluster = format!(
        r#"apiVersion: tidemill.dev/v1alpha1
kind: KafkaCluster
metadata: {{name: main}}
spec:
  bootstrapServers: ["{servers}"]
  sasl: {{mechanism: {MECHANISM}, username: {USER}, password: {{name: kafka-user, key: password}}}}
"#
    );
    kube.apply(&cluster).expect("it is accepted");
    let (reason, message) = kube.condition("kc", "main", "Ready", "False").await;
    assert!(reason == "SecretNotFound" && message.contains("kafka-user"), "{reason}: {message}");
    kube.run(&["create", "secret", "generic", "kafka-user", "--from-literal=password=wrong"]);
    kube.because("kc", "main", "Ready", "ClusterUnreachable").await;
    let right = format!(r#"{{"stringData":{{"password":"{PASSWORD}"}}}}"#);
    kube.run(&["patch", "secret", "kafka-user", "-p", &right]);
    kube.condition("kc", "main", "Ready", "True").await;
    kube.apply(&echo("echo", &input, &output, "  scaling: {min: 1, max: 1}\n")).expect("it is accepted");
    kube.bed.produce(&input, &numbered(100, 50, 1)).await;
    kube.bed.drained(&input, &input).await;
    assert_eq!(kube.bed.records(&output).await.len(), 100);
    // The secret that was put right replaces the pod: its logs are there when it is.
    kube.replicas("echo", 1).await;
    let shown = kube.run(&["get", "fn,kc,deployments,pods,events", "-o", "yaml"]);
    let logged =
        kubectl(kube.cluster, &["-n", OPERATOR, "logs", "-l", "app.kubernetes.io/name=tidemill-operator", "--tail=-1"]);
    let said = kube.run(&["logs", "deployment/echo", "-c", "runner"]);
    for text in [&shown, &logged.expect("the operator's log"), &said] {
        assert!(!text.contains(PASSWORD), "the password is shown");
    }
}
