//! Functions that stream their answers, on AWS's clients for Rust, Node and Go: a whole stream is the
//! answer; one that goes wrong in its middle fails its batch, and only the guilty record ends
//! among the dead letters.

use futures::future::join_all;
use std::path::Path;
use tempfile::TempDir;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    go,
    letter::reason,
    node,
    runner::{Runner, function, program, with},
    tally::Tally,
};
use tidemill_runner::config::Config;
use tidemill_testbed::programs;
use tokio::task::spawn_blocking;

const RECORDS: usize = 1_000;
const PARTITIONS: i32 = 5;

/// What goes wrong: the word that makes it so, `error-type`, and a part of `error-message`.
type Words = [(&'static str, &'static str, &'static str); 4];

/// `lambda_runtime` calls every error of a stream the same.
const RUST: Words = [
    ("poison", "Runtime.StreamError", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    ("poison", "Runtime.StreamError", "does not like `0000503 poison`"),
];

const NODE: Words = [
    ("poison", "RangeError", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    // Its client sees the connection end, and says so.
    ("destroy", "Runtime.UnhandledPromiseRejection", "socket hang up"),
];

const GO: Words = [
    ("poison", "Poisoned", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    ("poison", "Poisoned", "does not like `0000503 poison`"),
];

struct Scene {
    bed: Bed,
    input: String,
    output: String,
    config: Config,
    _folder: TempDir,
}

impl Scene {
    async fn set(test: &str, language: &str) -> Self {
        let bed = Bed::start(&format!("{test}-{language}")).await;
        let input = bed.topic("in", PARTITIONS, &[]).await;
        let output = bed.topic("out", PARTITIONS, &[]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let command = match language {
            "rust" => vec![programs::own("stream").expect("it is built with the tests").display().to_string()],
            "go" => vec![spawn_blocking(go::function).await.expect("building does not panic").display().to_string()],
            _ => {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/node/stream.js");
                std::fs::copy(file, folder.path().join("stream.js")).expect("the folder can be written");
                let client = spawn_blocking(node::client).await.expect("installing does not panic");
                vec!["node".to_owned(), client.display().to_string(), "stream.answer".to_owned()]
            }
        };
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut config = function(&bed, &input, Some(&output), &command);
        config.code = program(&command, Some(folder.path()));
        config = with(config, "STREAM", "true");
        config.plan.handler = "stream.answer".to_owned();
        Self { bed, input, output, config, _folder: folder }
    }

    async fn tally(&self) -> Tally {
        self.bed.drained(&self.input, &self.input).await;
        Tally::of(&self.bed.records(&self.output).await, RECORDS)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_stream_is_the_answer() {
    let each = ["rust", "node", "go"].map(async |language| {
        let scene = Scene::set("streams", language).await;
        let mut records = numbered(RECORDS, 200, PARTITIONS);
        // In Node the function says by this word that its answer begins as one to HTTP; Rust's always does.
        records[7].value = Some("0000007 prelude".into());
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        scene.tally().await.exactly_once();
        assert_eq!(scene.bed.records(&dead_letters(&scene.input)).await, [], "{language}");
        let totals = runner.stop().await;
        assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64), "{language}");
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_goes_wrong_costs_only_the_guilty_record() {
    let each = [("rust", RUST), ("node", NODE), ("go", GO)].map(async |(language, words)| {
        let scene = Scene::set("broken", language).await;
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        for (record, (word, ..)) in records[500..].iter_mut().zip(words) {
            let number = 500 + record.partition;
            record.value = Some(format!("{number:07} {word}").into());
        }
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        let tally = scene.tally().await;
        assert_eq!(tally, Tally { lost: words.len(), repeated: 0, records: RECORDS - words.len() }, "{language}");
        let mut letters = scene.bed.records(&dead_letters(&scene.input)).await;
        letters.sort_by(|a, b| a.value.cmp(&b.value));
        assert_eq!(letters.len(), words.len(), "{language}: {letters:?}");
        for (letter, (word, kind, part)) in letters.iter().zip(words) {
            let (said, message) = reason(letter);
            assert!(said == kind && message.contains(part), "{language}: {word}: {said}: {message}");
        }
        runner.stop().await;
    });
    join_all(each).await;
}
