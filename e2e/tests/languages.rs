//! Functions on AWS's own clients, as they would run on Lambda: what the runner serves is the
//! Lambda Runtime API. Each client has its own way of failing; the dead letters say the same.

use futures::future::join_all;
use std::{collections::BTreeSet, time::Duration};
use tempfile::TempDir;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    language::Language,
    letter::{headers, reason},
    runner::Runner,
    tally::Tally,
};
use tidemill_runner::config::Config;

const RECORDS: usize = 1_000;
const PARTITIONS: i32 = 5;

/// How the client names the type of the function's own error; in Rust it is `lambda_runtime::Error`.
const ERRORS: [(Language, &str); 4] = [
    (Language::Rust, "Box<dyn core::error::Error"),
    (Language::Python, "ValueError"),
    (Language::Node, "RangeError"),
    (Language::Go, "Poisoned"),
];

/// A way to fail: the word that makes it so, `error-type`, and a part of `error-message`.
type Failing = (&'static str, &'static str, &'static str);

/// Other ways to fail.
const OTHERS: [Failing; 4] = [
    ("sleep", "Timeout", "1s"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    ("shape", "InvalidAnswer", "unknown field `record`"),
];

/// What only one client can meet.
const OWN: [(Language, [Failing; 2]); 2] = [
    // A panic with a value of the function's, and one of Go's runtime; each ends the process.
    (
        Language::Go,
        [("panic", "Poisoned", "does not like `0000500 panic"), ("index", "boundsError", "index out of range")],
    ),
    // A rejected promise that nobody waits for, and an error that nobody can catch.
    (
        Language::Node,
        [
            ("reject", "Runtime.UnhandledPromiseRejection", "nobody waits for `0000500 reject"),
            ("timer", "TypeError", "too late for `0000501 timer"),
        ],
    ),
];

struct Scene {
    bed: Bed,
    input: String,
    output: String,
    folder: TempDir,
    config: Config,
}

impl Scene {
    async fn set(language: Language, test: &str) -> Self {
        let bed = Bed::start(&format!("{test}-{language:?}").to_lowercase()).await;
        let input = bed.topic("in", PARTITIONS, &[]).await;
        let output = bed.topic("out", PARTITIONS, &[]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = language.function(&bed, &input, &output, folder.path()).await;
        Self { bed, input, output, folder, config }
    }

    async fn tally(&self) -> Tally {
        self.bed.drained(&self.input, &self.input).await;
        Tally::of(&self.bed.records(&self.output).await, RECORDS)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_in_each_language_runs_unmodified() {
    let each = Language::ALL.map(async |language| {
        let scene = Scene::set(language, "runs").await;
        language.write(scene.folder.path());
        scene.bed.produce(&scene.input, &numbered(RECORDS, 200, PARTITIONS)).await;
        let runner = Runner::start(&scene.config);
        scene.tally().await.exactly_once();
        assert_eq!(scene.bed.records(&dead_letters(&scene.input)).await, [], "{language:?}");
        let outputs = scene.bed.records(&scene.output).await;
        let mut requests = BTreeSet::new();
        for output in &outputs {
            let mut context = headers(output);
            assert_eq!(context["function"], "e2e", "{language:?}");
            let remaining: u64 = context["remaining"].parse().expect("milliseconds");
            let timeout = scene.config.plan.timeout.as_millis();
            assert!(remaining > 1_000 && u128::from(remaining) <= timeout, "{language:?}: {remaining}");
            requests.extend(context.remove("request").filter(|id| !id.is_empty()));
        }
        let printed = runner.log().contains("answering");
        assert_eq!(printed, language == Language::Python, "what it prints is in the log");
        let told = |line: &str| requests.iter().any(|id| line.contains(id.as_str()));
        let log = runner.log();
        assert!(log.lines().filter(|line| line.contains("answering")).all(told), "with the request id: {log}");
        let totals = runner.stop().await;
        assert_eq!(requests.len() as u64, totals.invocations, "{language:?}: each invocation has an id of its own");
        assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64), "{language:?}");
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_says_how_a_function_failed_in_any_language() {
    let each = ERRORS.map(async |(language, kind)| {
        let mut scene = Scene::set(language, "fails").await;
        language.write(scene.folder.path());
        scene.config.plan.timeout = Duration::from_secs(1);
        // Each word is alone in its partition, so that each failure is met by innocent neighbours.
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        let expected: Vec<_> =
            std::iter::once(("poison", kind, "does not like `0000500 poison, ünïcode`")).chain(OTHERS).collect();
        for (record, (word, ..)) in records[500..].iter_mut().zip(&expected) {
            let number = 500 + record.partition;
            record.value = Some(format!("{number:07} {word}, ünïcode").into());
        }
        scene.bed.produce(&scene.input, &records).await;
        let mut runner = Runner::start(&scene.config);
        let tally = scene.tally().await;
        assert_eq!(tally, Tally { lost: 5, repeated: 0, records: RECORDS - 5 }, "{language:?}");

        let mut letters = scene.bed.records(&dead_letters(&scene.input)).await;
        letters.sort_by(|a, b| a.value.cmp(&b.value));
        assert_eq!(letters.len(), expected.len(), "{language:?}: {letters:?}");
        for (letter, (word, kind, part)) in letters.iter().zip(expected) {
            let (said, message) = reason(letter);
            // Rust's is written with its crates and markers, which is the compiler's affair.
            let named = said == kind || (language == Language::Rust && said.contains(kind));
            assert!(named, "{language:?}: {word}: {said}: {message}");
            assert!(message.contains(part), "{language:?}: {word}: {message}");
        }
        let (_, metrics) = runner.admin("/metrics").await;
        let timeouts = metrics.lines().find_map(|line| line.strip_prefix("tidemill_runner_timeouts_total "));
        let timeouts: u32 = timeouts.and_then(|count| count.parse().ok()).expect("timeouts are counted");
        assert!(timeouts >= scene.config.plan.retry.attempts, "{language:?}: {timeouts}");
        // One that was not killed would sleep for ten minutes.
        let alive = runner.functions();
        assert_eq!(alive.len(), 1, "{language:?}: {alive:?}");
        runner.stop().await;
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_a_process_is_named_and_costs_only_the_guilty_record() {
    let each = OWN.map(async |(language, words)| {
        let scene = Scene::set(language, "ends").await;
        language.write(scene.folder.path());
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        for (record, (word, ..)) in records[500..].iter_mut().zip(words) {
            let number = 500 + record.partition;
            record.value = Some(format!("{number:07} {word}").into());
        }
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        let tally = scene.tally().await;
        assert_eq!(tally, Tally { lost: 2, repeated: 0, records: RECORDS - 2 }, "{language:?}");
        let mut letters = scene.bed.records(&dead_letters(&scene.input)).await;
        letters.sort_by(|a, b| a.value.cmp(&b.value));
        assert_eq!(letters.len(), words.len(), "{language:?}: {letters:?}");
        for (letter, (word, kind, part)) in letters.iter().zip(words) {
            let (said, message) = reason(letter);
            assert!(said == kind && message.contains(part), "{language:?}: {word}: {said}: {message}");
            let attempts: u32 = headers(letter)["attempts"].parse().expect("a number");
            assert!(attempts >= scene.config.plan.retry.attempts, "{language:?}: {word}: {attempts}");
        }
        runner.stop().await;
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_for_a_missing_handler() {
    for language in Language::ALL.into_iter().filter(|language| language.handler().is_some()) {
        let scene = Scene::set(language, "init").await;
        scene.bed.produce(&scene.input, &numbered(RECORDS, 200, PARTITIONS)).await;
        let mut runner = Runner::start(&scene.config);
        let failing = runner.report("why it fails", |report| report.failing.is_some()).await.failing;
        let failing = failing.expect("it says why");
        assert!(failing.contains("reported an init error") && failing.contains("app"), "{language:?}: {failing}");
        assert_eq!(runner.admin("/ready").await.0, 503, "{language:?}");
        language.write(scene.folder.path());
        scene.tally().await.exactly_once();
        assert_eq!(scene.bed.records(&dead_letters(&scene.input)).await, [], "{language:?}");
        runner.stop().await;
    }
}
