//! What `tidemill up` cannot run: a message that says what is in the way and what to do, exit
//! code 1, and no process left.

use nix::sys::signal::Signal;
use std::{fs, net::TcpListener, path::Path, process::Command};
use tempfile::TempDir;
use tidemill_e2e::{
    disk::Disk,
    market,
    up::Up,
    wait::{PATIENCE, until},
};
use tidemill_testbed::programs;

/// What a finite run makes of the site's pages: 24 articles and a broken page.
const ARTICLES: usize = 25;

fn up(folder: &Path) -> (Up, TempDir) {
    let state = tempfile::tempdir().expect("a temporary folder");
    (Up::new(folder, &state.path().join("state")), state)
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_on_the_same_state_names_the_first() {
    let (first, _folder) = up(&market::folder());
    let live = first.live().await;
    let second = Up { state: first.state.clone(), ..Up::new(&market::folder(), &first.state) };
    let output = second.output().await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    says(&said, &[&format!("process {}", live.pid()), "--state", &first.state.display().to_string()]);
    assert!(first.healthy().await, "the first is not disturbed");
    assert_eq!(live.end(Signal::SIGINT).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_with_its_option() {
    let options = ["--addr", "--kafka-port", "--redis-port", "--s3-port"];
    for (index, option) in options.into_iter().enumerate() {
        let (up, _folder) = up(&market::folder());
        let port = up.ports[index];
        let _taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
        says(&up.refused().await, &[&format!("127.0.0.1:{port}"), "another program has the port", option]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_need_a_kafka_that_has_them() {
    let folder = market::copy();
    market::edit(
        folder.path(),
        "nlp.yaml",
        "topic: enriched-articles",
        "topic: enriched-articles, delivery: exactlyOnce",
    );
    let (up, _state) = up(folder.path());
    says(&up.refused().await, &["function nlp", "spec.output.delivery", "--kafka"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_program_is_named_with_the_places_looked_in() {
    let folder = market::copy();
    market::edit(folder.path(), "nlp.yaml", "tidemill/nlp:0.1.0", "tidemill/no-such:0.1.0");
    let (up, _state) = up(folder.path());
    says(&up.refused().await, &["function nlp", "no-such/bootstrap", "make build"]);

    market::edit(folder.path(), "nlp.yaml", "tidemill/no-such:0.1.0", "tidemill/nlp:0.1.0");
    market::edit(folder.path(), "local/companions.yaml", "command: [ticks,", "command: [no-such-ticks,");
    says(&up.refused().await, &["no-such-ticks", "companions.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_manifest_is_named_with_file_line_and_field() {
    let cases = [
        ("  timeout: 60s", "  timeOut: 60s", "normalize.yaml:6: spec.timeOut: is not a field here"),
        (
            "window: 500ms",
            "window: soon",
            "normalize.yaml:16: spec.trigger.kafka.batch.window: `soon` is not a duration",
        ),
        ("topics: [raw-articles]", "topics: []", "normalize.yaml:13: spec.trigger.kafka.topics"),
        ("spec:\n", "spec: [\n", "normalize.yaml:"),
    ];
    for (from, to, expected) in cases {
        let folder = market::copy();
        market::edit(folder.path(), "normalize.yaml", from, to);
        let (up, _state) = up(folder.path());
        says(&up.refused().await, &["the manifests are refused", expected]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_functions_that_share_a_topic_and_a_group_are_refused() {
    let folder = market::copy();
    let other = folder.path().join("other.yaml");
    let first = fs::read_to_string(folder.path().join("normalize.yaml")).expect("it is there");
    let second = first.replace("name: normalize", "name: other");
    fs::write(&other, &second).expect("the folder can be written");
    let (up, _state) = up(folder.path());
    let words =
        ["other.yaml:14: spec.trigger.kafka.group", "`default/normalize`", "`raw-articles`", "name another group"];
    says(&up.refused().await, &words);

    // Each in a group of its own gets all.
    fs::write(&other, second.replace("normalizer-group", "other-group")).expect("the folder can be written");
    let mut command = Command::new(programs::own("tidemill").expect("tidemill is built"));
    let validated = command.arg("validate").arg(folder.path()).output().expect("it runs");
    assert!(validated.status.success(), "{validated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_cannot_be_used_is_named() {
    let (up, state) = up(&market::folder());
    fs::write(state.path().join("state"), "a file").expect("the folder can be written");
    says(&up.refused().await, &["state folder", &up.state.display().to_string(), "--state"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_refused_before_anything_starts() {
    let disk = Disk::new("8m");
    let up = Up::new(&market::folder(), &disk.path().join("state"));
    says(&up.refused().await, &["disk space", &up.state.display().to_string(), "32 MiB", "--state"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_ends_the_run_and_loses_nothing() {
    let disk = Disk::new("64m");
    let up = Up::new(&market::folder(), &disk.path().join("state"));
    let run = up.clone().with(&["--once", "--output", "json"]);
    let filler = disk.path().join("filler");
    let (output, ()) = tokio::join!(run.output(), async {
        until("the edge to be healthy", PATIENCE, async || up.healthy().await.then_some(())).await;
        fs::write(&filler, vec![0; 58 << 20]).expect("there is room for it");
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    says(&said, &["disk space left", &up.state.display().to_string(), "run it again"]);
    assert_eq!(up.processes(), []);

    fs::remove_file(&filler).expect("it is there");
    let rest = up.once(&[]).await;
    assert!(rest.functions["aggregate"].r#in >= 3_000, "its own trades, and those left over: {rest:?}");
    assert_eq!(rest.functions["notify"].dead_lettered, 0, "{rest:?}");
    let live = up.live().await;
    until("every article", PATIENCE, async || {
        let response = reqwest::get(up.url("/api/articles")).await.ok()?;
        response.text().await.ok()?.contains(&format!("\"total\":{ARTICLES}")).then_some(())
    })
    .await;
    assert_eq!(live.end(Signal::SIGINT).await.code(), Some(0));
}
