//! Functions on AWS's own clients, as they would run on Lambda: what the runner serves is the
//! Lambda Runtime API. Each client has its own way of failing; the dead letters say the same.

use futures::future::join_all;
use std::{collections::BTreeSet, time::Duration};
use tidemill_e2e::{
    bed::numbered,
    failing::{self, Failing, plant},
    language::Language,
    letter::{headers, reason},
    runner::Runner,
    scene::Scene,
    tally::Tally,
};

const RECORDS: usize = 1_000;
const PARTITIONS: i32 = 5;

/// How the client names the type of the function's own error; in Rust it is `lambda_runtime::Error`.
const ERRORS: [(Language, &str); 4] = [
    (Language::Rust, "Box<dyn core::error::Error"),
    (Language::Python, "ValueError"),
    (Language::Node, "RangeError"),
    (Language::Go, "Poisoned"),
];

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

async fn set(language: Language, test: &str) -> Scene {
    let mut scene = Scene::set(&format!("{test}-{language:?}").to_lowercase(), PARTITIONS).await;
    scene.config = language.function(&scene.bed, &scene.input, &scene.output, scene.folder.path()).await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_in_each_language_runs_unmodified() {
    let each = Language::ALL.map(async |language| {
        let scene = set(language, "runs").await;
        language.write(scene.folder.path());
        scene.bed.produce(&scene.input, &numbered(RECORDS, 200, PARTITIONS)).await;
        let runner = Runner::start(&scene.config);
        scene.tally(RECORDS).await.exactly_once();
        assert_eq!(scene.letters().await, [], "{language:?}");
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
        let mut scene = set(language, "fails").await;
        language.write(scene.folder.path());
        scene.config.plan.timeout = Duration::from_secs(1);
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        let words = std::iter::once("poison").chain(OTHERS.map(|(word, ..)| word));
        plant(&mut records, words.map(|word| format!("{word}, ünïcode")));
        scene.bed.produce(&scene.input, &records).await;
        let mut runner = Runner::start(&scene.config);
        let tally = scene.tally(RECORDS).await;
        assert_eq!(tally, Tally { lost: 5, repeated: 0, records: RECORDS - 5 }, "{language:?}");

        let letters = scene.letters().await;
        let (own, others) = letters.split_first().expect("there are dead letters");
        let (said, message) = reason(own);
        // Rust's is written with its crates and markers, which is the compiler's affair.
        let named = said == kind || (language == Language::Rust && said.contains(kind));
        assert!(named, "{language:?}: {said}: {message}");
        assert!(message.contains("does not like `0000500 poison, ünïcode`"), "{language:?}: {message}");
        failing::check(others, &OTHERS, language);
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
        let scene = set(language, "ends").await;
        language.write(scene.folder.path());
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        plant(&mut records, words.map(|(word, ..)| word));
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        let tally = scene.tally(RECORDS).await;
        assert_eq!(tally, Tally { lost: 2, repeated: 0, records: RECORDS - 2 }, "{language:?}");
        let letters = scene.letters().await;
        failing::check(&letters, &words, language);
        for letter in &letters {
            let attempts: u32 = headers(letter)["attempts"].parse().expect("a number");
            assert!(attempts >= scene.config.plan.retry.attempts, "{language:?}: {attempts}: {letter:?}");
        }
        runner.stop().await;
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_for_a_missing_handler() {
    for language in Language::ALL.into_iter().filter(|language| language.handler().is_some()) {
        let scene = set(language, "init").await;
        scene.bed.produce(&scene.input, &numbered(RECORDS, 200, PARTITIONS)).await;
        let mut runner = Runner::start(&scene.config);
        let failing = runner.report("why it fails", |report| report.failing.is_some()).await.failing;
        let failing = failing.expect("it says why");
        assert!(failing.contains("reported an init error") && failing.contains("app"), "{language:?}: {failing}");
        assert_eq!(runner.admin("/ready").await.0, 503, "{language:?}");
        language.write(scene.folder.path());
        scene.tally(RECORDS).await.exactly_once();
        assert_eq!(scene.letters().await, [], "{language:?}");
        runner.stop().await;
    }
}
