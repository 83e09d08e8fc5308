//! Manifests that are refused, each with the line, the field and the remedy.

use tidemill_api::{check, manifest};

const GOOD: &str = "apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {name: normalize}
spec:
  image: tidemill/normalize:0.1.0
  timeout: 30s
  trigger:
    kafka:
      cluster: main
      topics: [raw-articles]
      start: earliest
      batch: {maxRecords: 100, window: 500ms, maxBytes: 6MiB}
      ordering: partition
      filter: [{value: {source: [{prefix: coin}]}}]
  output: {topic: normalized-articles, delivery: atLeastOnce}
  retry: {attempts: 3, maxAge: 1h, backoff: {initial: 200ms, max: 30s}, bisect: true}
  onFailure: {topic: dlq.raw-articles}
  scaling:
    min: 0
    max: 12
    drainTarget: 10s
    activationLag: 0
    cooldown: 60s
";

fn problems(text: &str) -> Vec<check::Problem> {
    let documents = manifest::documents(text).expect("YAML");
    documents.iter().filter_map(|document| check::resource(document).err()).flatten().collect()
}

/// The problem that arises when `from` becomes `to` in a good manifest.
#[track_caller]
fn refused(from: &str, to: &str, line: usize, field: &str, words: &str) {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` stands once in the good manifest");
    let found = problems(&GOOD.replace(from, to));
    let expected = found.iter().find(|problem| problem.field == field && problem.message.contains(words));
    let problem = expected.unwrap_or_else(|| panic!("{to}: no problem of {field} with `{words}` in {found:#?}"));
    assert_eq!(problem.line, line, "{to}: {problem:?}");
}

#[test]
fn a_whole_manifest_is_accepted() {
    assert_eq!(problems(GOOD), []);
}

#[test]
fn a_minimal_manifest_is_accepted() {
    let text = "apiVersion: tidemill.dev/v1alpha1
kind: Function
metadata: {name: f}
spec:
  image: f
  trigger: {kafka: {cluster: main, topics: [t]}}
";
    assert_eq!(problems(text), []);
}

#[test]
fn values_of_the_wrong_form() {
    refused("timeout: 30s", "timeout: 30", 6, "spec.timeout", "not of type \"string\": write a duration such as 30s");
    refused("timeout: 30s", "timeout: soon", 6, "spec.timeout", "write a number and a unit");
    refused("window: 500ms", "window: 1d", 12, "spec.trigger.kafka.batch.window", "write a number and a unit");
    refused("maxBytes: 6MiB", "maxBytes: 6MB", 12, "spec.trigger.kafka.batch.maxBytes", "64KiB");
    refused("maxRecords: 100", "maxRecords: 0", 12, "spec.trigger.kafka.batch.maxRecords", "write at least 1");
    refused(
        "maxRecords: 100",
        "maxRecords: many",
        12,
        "spec.trigger.kafka.batch.maxRecords",
        "a whole number without quotes",
    );
    refused("ordering: partition", "ordering: topic", 13, "spec.trigger.kafka.ordering", "\"partition\"");
    refused("delivery: atLeastOnce", "delivery: atMostOnce", 15, "spec.output.delivery", "\"exactlyOnce\"");
    refused("[raw-articles]", "[]", 10, "spec.trigger.kafka.topics", "less than 1 item");
    refused("[raw-articles]", "[]", 10, "spec.trigger.kafka.topics", "write at least 1, as in [t]");
    refused("[raw-articles]", "raw-articles", 10, "spec.trigger.kafka.topics", "write a list such as [t]");
    refused("[raw-articles]", "[7]", 10, "spec.trigger.kafka.topics[0]", "write a name of letters");
    refused("maxBytes: 6MiB", "maxBytes: 6", 12, "spec.trigger.kafka.batch.maxBytes", "write a size such as 64KiB");
    refused("bisect: true", "bisect: maybe", 16, "spec.retry.bisect", "write true or false");
    refused("[raw-articles]", "['^raw']", 10, "spec.trigger.kafka.topics[0]", "does not match");
    refused("start: earliest", "start: first", 11, "spec.trigger.kafka.start", "earliest|latest");
    refused("start: earliest", "start: {timestamp: yesterday}", 11, "spec.trigger.kafka.start.timestamp", "RFC 3339");
    refused("attempts: 3", "attempts: 0", 16, "spec.retry.attempts", "minimum of 1: write at least 1");
    refused("name: normalize", "name: Normalize_1", 3, "metadata.name", "lower-case");
    refused("name: normalize", "name: news.normalize", 3, "metadata.name", "no dot: its pods");
    refused("name: normalize", &format!("name: {}", "n".repeat(64)), 3, "metadata.name", "at most 63 characters");
}

#[test]
fn filters_are_compiled() {
    const PATTERN: &str = "[{value: {source: [{prefix: coin}]}}]";
    let field = |rest: &str| format!("spec.trigger.kafka.filter[0]{rest}");
    let cases = [
        ("[{value: {price: [1, {numeric: [over, 2]}]}}]", field(".value.price[1].numeric[0]"), "no operator here"),
        ("[{value: {price: [1, [2]]}}]", field(".value.price[1]"), "write values"),
        ("[{value: {'a.b': coin}}]", field(".value.a.b"), "write [\"coin\"]"),
        ("[{topic: [t]}]", field(".topic"), "there are `value`, `key` and `headers`"),
        ("[{}]", field(""), "is an empty object"),
        ("[coin]", field(""), "write fields and their values"),
    ];
    for (pattern, field, words) in cases {
        refused(PATTERN, pattern, 14, &field, words);
    }
}

#[test]
fn fields_that_are_missing_or_unknown() {
    refused("      cluster: main\n", "", 8, "spec.trigger.kafka.cluster", "is missing: add it as text");
    refused("  timeout: 30s", "  timeuot: 30s", 6, "spec.timeuot", "not a field here: there are ");
    refused("bisect: true", "bisekt: true", 16, "spec.retry.bisekt", "there are attempts, backoff, bisect, maxAge");
    refused("metadata: {name: normalize}", "metadata: {}", 3, "metadata.name", "is missing");
    refused("kind: Function", "kind: Funktion", 2, "kind", "use Function, KafkaCluster or Topic");
    refused("tidemill.dev/v1alpha1", "tidemill.dev/v1", 1, "apiVersion", "use `tidemill.dev/v1alpha1`");
}

#[test]
fn rules_between_fields() {
    refused("  image: tidemill/normalize:0.1.0\n", "", 4, "spec", "exactly one of `image` and `package`");
    let sha256 = "0".repeat(64);
    let both = format!(
        "  image: tidemill/normalize:0.1.0\n  package: {{s3: {{bucket: functions, key: f.zip, sha256: '{sha256}'}}}}\n"
    );
    refused("  image: tidemill/normalize:0.1.0\n", &both, 4, "spec", "exactly one of `image` and `package`");
    refused("    max: 12", "    max: 12\n    lagPerReplica: 100", 18, "spec.scaling", "at most one of `drainTarget`");
    refused("    min: 0", "    min: 13", 18, "spec.scaling", "`min` must not be above `max`");
    refused("{initial: 200ms,", "{initial: 1h,", 16, "spec.retry.backoff", "must not be longer than `max`");
    refused("maxAge: 1h", "maxAge: 0s", 16, "spec.retry", "`maxAge` must be above 0s");
    for nothing in ["'0'", "0B", "00KiB", "0MiB"] {
        let batch = format!("maxBytes: {nothing}");
        refused("maxBytes: 6MiB", &batch, 12, "spec.trigger.kafka.batch", "`maxBytes` must be above 0");
    }
    for much in ["65MiB", "100GiB"] {
        let words = format!("`{much}` must be at most 64MiB");
        let batch = format!("maxBytes: {much}");
        refused("maxBytes: 6MiB", &batch, 12, "spec.trigger.kafka.batch.maxBytes", &words);
    }
    refused("dlq.raw-articles", "normalized-articles", 17, "spec.onFailure.topic", "is `output.topic` too");
    let rest = "}\n      ordering: partition\n      filter: [{value: {source: [{prefix: coin}]}}]\n";
    let output = "  output: {topic: normalized-articles, delivery: ";
    let (from, to) = (format!("{rest}{output}atLeastOnce"), format!(", spanPartitions: true{rest}{output}exactlyOnce"));
    refused(&from, &to, 4, "spec", "`batch.spanPartitions` does not go with `output.delivery: exactlyOnce`");
    refused("{topic: dlq.raw-articles}", "{}", 17, "spec.onFailure", "exactly one of `topic` and `s3`");
    refused("{topic: dlq.raw-articles}", "{topic: raw-articles}", 4, "spec", "come back for ever");
    let schedule = "  trigger:\n    schedule: {cron: '* * * * *'}\n    kafka:";
    refused("  trigger:\n    kafka:", schedule, 7, "spec.trigger", "exactly one of `kafka` and `schedule`");
}

#[test]
fn null_is_no_value() {
    let text = |image: &str, trigger: &str| {
        format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: Function\nmetadata: {{name: f}}\nspec:\n  image: {image}\n  trigger: {trigger}\n"
        )
    };
    let found = problems(&text("f", "{kafka: ~}"));
    assert_eq!(found.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["spec.trigger"], "{found:?}");
    let found = problems(&text("~", "{kafka: {cluster: main, topics: [t]}}"));
    assert_eq!(found.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["spec"], "{found:?}");
}

#[test]
fn schedules_are_read() {
    let schedule = |cron: &str, zone: &str, output: &str| {
        problems(&format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: Function\nmetadata: {{name: f}}\nspec:\n  image: f\n  trigger:\n    schedule:\n      cron: \"{cron}\"\n      timeZone: {zone}\n{output}"
        ))
    };
    assert_eq!(schedule("*/5 * * * *", "Europe/Paris", ""), []);
    let found = schedule("61 * * * *", "Mars/Base", "");
    let lines: Vec<_> = found.iter().map(|problem| (problem.line, problem.field.as_str())).collect();
    assert_eq!(lines, [(8, "spec.trigger.schedule.cron"), (9, "spec.trigger.schedule.timeZone")]);
    let found = schedule("* * * * *", "UTC", "  output: {topic: t, delivery: exactlyOnce}\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("needs a kafka trigger"), "{found:?}");
}

#[test]
fn clusters_and_topics() {
    let cluster = |servers: &str| {
        problems(&format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: KafkaCluster\nmetadata: {{name: main}}\nspec: {{bootstrapServers: [{servers}]}}\n"
        ))
    };
    assert_eq!(cluster("'kafka:9092', 'b:9092'"), []);
    assert_eq!(cluster("kafka")[0].field, "spec.bootstrapServers[0]");
    assert_eq!(cluster("'http://kafka:9092'").len(), 1);
    let secured = |more: &str| {
        problems(&format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: KafkaCluster\nmetadata: {{name: main}}\nspec: {{bootstrapServers: ['b:9092'], {more}}}\n"
        ))
    };
    let sasl =
        |mechanism: &str| format!("sasl: {{mechanism: {mechanism}, username: ann, password: {{name: s, key: k}}}}");
    assert_eq!(secured(&sasl("SCRAM-SHA-512")), []);
    assert_eq!(secured(&format!("{}, tls: {{}}", sasl("PLAIN"))), []);
    let found = secured(&sasl("PLAIN"));
    assert!(found.len() == 1 && found[0].message.contains("needs `tls`"), "{found:?}");
    let topic = |spec: &str| {
        problems(&format!(
            "apiVersion: tidemill.dev/v1alpha1\nkind: Topic\nmetadata: {{name: raw-articles}}\nspec: {spec}\n"
        ))
    };
    assert_eq!(topic("{cluster: main, partitions: 3, config: {retention.ms: '604800000'}}"), []);
    assert_eq!(topic("{cluster: main, partitions: 0}")[0].field, "spec.partitions");
    assert_eq!(
        topic("{cluster: main, partitions: 3, config: {retention.ms: 604800000}}")[0].field,
        "spec.config.retention.ms"
    );
    assert_eq!(topic("{cluster: main, partitions: 3, deletionPolicy: Drop}")[0].field, "spec.deletionPolicy");
}

#[test]
fn other_kinds_are_left_alone_and_no_kind_is_refused() {
    assert_eq!(problems("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"), []);
    assert!(problems("hello: world\n")[0].message.contains("`apiVersion` and `kind` are missing"));
    assert_eq!(problems("---\n---\n"), []);
}
