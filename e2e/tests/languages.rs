//! A Python function on AWS's own `awslambdaric` client, as it would run on Lambda: what the
//! runner serves is the Lambda Runtime API.

use std::fs;
use tempfile::TempDir;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered},
    letter::reason,
    python,
    runner::{Runner, function, program},
    tally::Tally,
};
use tidemill_runner::config::Config;

const RECORDS: usize = 1_000;

const HANDLER: &str = r#"
import base64

def answer(event, context):
    assert event["eventSource"] == "SelfManagedKafka", event
    assert context.function_name == "e2e" and context.aws_request_id
    assert context.get_remaining_time_in_millis() > 1000
    records = [record for partition in event["records"].values() for record in partition]
    values = [base64.b64decode(record["value"]).decode() for record in records]
    if any("poison" in value for value in values):
        raise ValueError("poison in it: ünïcode")
    print("answering", len(values), "records")
    return {"records": [{"key": value[:7], "value": value} for value in values]}
"#;

struct Scene {
    bed: Bed,
    input: String,
    output: String,
    folder: TempDir,
    config: Config,
}

impl Scene {
    async fn set(test: &str) -> Self {
        let bed = Bed::start(test).await;
        let input = bed.topic("in", 3, &[]).await;
        let output = bed.topic("out", 3, &[]).await;
        let python = tokio::task::spawn_blocking(python::with_client).await.expect("installing does not panic");
        let python = python.display().to_string();
        let command = [python.as_str(), "-m", "awslambdaric", "app.answer"];
        let mut config = function(&bed, &input, Some(&output), &command);
        let folder = tempfile::tempdir().expect("a temporary folder");
        config.code = program(&command, Some(folder.path()));
        config.plan.handler = "app.answer".to_owned();
        Self { bed, input, output, folder, config }
    }

    fn write_handler(&self) {
        fs::write(self.folder.path().join("app.py"), HANDLER).expect("the folder can be written");
    }

    async fn tally(&self) -> Tally {
        self.bed.drained(&self.input, &self.input).await;
        Tally::of(&self.bed.records(&self.output).await, RECORDS)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_function_runs_unmodified() {
    let scene = Scene::set("python").await;
    scene.write_handler();
    scene.bed.produce(&scene.input, &numbered(RECORDS, 200, 3)).await;
    let runner = Runner::start(&scene.config);
    scene.tally().await.exactly_once();
    assert_eq!(scene.bed.records(&dead_letters(&scene.input)).await, []);
    assert!(runner.log().contains("answering"), "what it prints is in the log");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exception_is_the_letters_reason() {
    let scene = Scene::set("python-raises").await;
    scene.write_handler();
    let mut records = numbered(RECORDS, 200, 3);
    records[500].value = Some("0000500 poison".into());
    scene.bed.produce(&scene.input, &records).await;
    let runner = Runner::start(&scene.config);
    assert_eq!(scene.tally().await, Tally { lost: 1, repeated: 0, records: RECORDS - 1 });
    let letters = scene.bed.records(&dead_letters(&scene.input)).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(reason(&letters[0]), ("ValueError".to_owned(), "ValueError: poison in it: ünïcode".to_owned()));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_for_a_missing_handler() {
    let scene = Scene::set("python-init").await;
    scene.bed.produce(&scene.input, &numbered(RECORDS, 200, 3)).await;
    let mut runner = Runner::start(&scene.config);
    let failing = runner.report("why it fails", |report| report.failing.is_some()).await.failing;
    let failing = failing.expect("it says why");
    assert!(failing.contains("reported an init error") && failing.contains("app"), "{failing}");
    assert_eq!(runner.admin("/ready").await.0, 503);
    scene.write_handler();
    scene.tally().await.exactly_once();
    assert_eq!(scene.bed.records(&dead_letters(&scene.input)).await, []);
    runner.stop().await;
}
