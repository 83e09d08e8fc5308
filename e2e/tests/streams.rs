//! Functions that stream their answers, on AWS's clients for Rust, Node and Go: a whole stream is the
//! answer; one that goes wrong in its middle fails its batch, and only the guilty record ends
//! among the dead letters.

use futures::future::join_all;
use tidemill_e2e::{
    bed::numbered,
    failing::{self, Failing, plant},
    go,
    kube::root,
    node,
    runner::{Runner, program, with},
    scene::Scene,
    tally::Tally,
};
use tidemill_testbed::programs;
use tokio::task::spawn_blocking;

const RECORDS: usize = 1_000;
const PARTITIONS: i32 = 5;

/// `lambda_runtime` calls every error of a stream the same.
const RUST: [Failing; 4] = [
    ("poison", "Runtime.StreamError", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    ("poison", "Runtime.StreamError", "does not like `0000503 poison`"),
];

const NODE: [Failing; 4] = [
    ("poison", "RangeError", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    // Its client sees the connection end, and says so.
    ("destroy", "Runtime.UnhandledPromiseRejection", "socket hang up"),
];

const GO: [Failing; 4] = [
    ("poison", "Poisoned", "does not like `0000500 poison`"),
    ("exit", "Crash", "exit code 7"),
    ("large", "Function.ResponseSizeTooLarge", "at most 6291556 are allowed"),
    ("poison", "Poisoned", "does not like `0000503 poison`"),
];

async fn set(test: &str, language: &str) -> Scene {
    let mut scene = Scene::set(&format!("{test}-{language}"), PARTITIONS).await;
    let command = match language {
        "rust" => vec![programs::own("stream").expect("it is built with the tests").display().to_string()],
        "go" => vec![spawn_blocking(go::function).await.expect("building does not panic").display().to_string()],
        _ => {
            let file = root().join("e2e/functions/node/stream.js");
            std::fs::copy(file, scene.folder.path().join("stream.js")).expect("the folder can be written");
            let client = spawn_blocking(node::client).await.expect("installing does not panic");
            vec!["node".to_owned(), client.display().to_string(), "stream.answer".to_owned()]
        }
    };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    scene.config.code = program(&command, Some(scene.folder.path()));
    scene.config.plan.handler = "stream.answer".to_owned();
    scene.config = with(scene.config, "STREAM", "true");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_stream_is_the_answer() {
    let each = ["rust", "node", "go"].map(async |language| {
        let scene = set("streams", language).await;
        let mut records = numbered(RECORDS, 200, PARTITIONS);
        // In Node the function says by this word that its answer begins as one to HTTP; Rust's always does.
        records[7].value = Some("0000007 prelude".into());
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        scene.tally(RECORDS).await.exactly_once();
        assert_eq!(scene.letters().await, [], "{language}");
        let totals = runner.stop().await;
        assert_eq!((totals.r#in, totals.out), (RECORDS as u64, RECORDS as u64), "{language}");
    });
    join_all(each).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_goes_wrong_costs_only_the_guilty_record() {
    let each = [("rust", RUST), ("node", NODE), ("go", GO)].map(async |(language, words)| {
        let scene = set("broken", language).await;
        let mut records = numbered(RECORDS, 50, PARTITIONS);
        plant(&mut records, words.map(|(word, ..)| word));
        scene.bed.produce(&scene.input, &records).await;
        let runner = Runner::start(&scene.config);
        let tally = scene.tally(RECORDS).await;
        assert_eq!(tally, Tally { lost: words.len(), repeated: 0, records: RECORDS - words.len() }, "{language}");
        failing::check(&scene.letters().await, &words, language);
        runner.stop().await;
    });
    join_all(each).await;
}
