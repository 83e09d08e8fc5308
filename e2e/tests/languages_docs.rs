//! The functions that docs/functions.md shows, as they stand there, on AWS's own clients.

use std::{fs, path::Path, process::Stdio};
use tempfile::TempDir;
use tidemill_e2e::{go, node, python, wait::PATIENCE};
use tidemill_testbed::programs;
use tokio::{process::Command, task::spawn_blocking};

const DOCUMENT: &str = include_str!("../../docs/functions.md");

/// The block under the line that names the file.
fn shown(file: &str) -> &'static str {
    let (_, after) = DOCUMENT.split_once(&format!("\n`{file}`")).expect("the file is shown");
    let (_, block) = after.split_once("\n```").expect("a block begins");
    let (_, block) = block.split_once('\n').expect("a block has lines");
    block.split_once("```\n").expect("the block ends").0
}

/// A folder with the manifest as shown, but for the command, and the file.
fn folder(command: &str, file: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown_command = "python3 -m awslambdaric app.handler";
    let manifest = shown("shout.yaml");
    assert!(manifest.contains(shown_command), "{manifest}");
    fs::write(folder.path().join("shout.yaml"), manifest.replace(shown_command, command)).expect("it can be written");
    fs::write(folder.path().join(file), shown(file)).expect("it can be written");
    fs::write(
        folder.path().join("words.ndjson"),
        "{\"topic\":\"words\",\"value\":\"tide\"}\n{\"topic\":\"words\",\"value\":\"mill\"}\n",
    )
    .expect("it can be written");
    folder
}

async fn shouts(folder: &Path) {
    let mut command = Command::new(programs::own("tidemill").expect("tidemill is built"));
    command.args(["invoke", "shout", "--dir", ".", "--records", "words.ndjson"]).current_dir(folder);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").expect("it can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    for line in out.lines() {
        assert!(DOCUMENT.contains(line), "{out}");
    }
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[tokio::test]
async fn python() {
    let python = spawn_blocking(python::with_client).await.expect("installing does not panic");
    shouts(folder(&format!("{} -m awslambdaric app.handler", python.display()), "app.py").path()).await;
}

#[tokio::test]
async fn node() {
    let client = spawn_blocking(node::client).await.expect("installing does not panic");
    shouts(folder(&format!("node {} app.handler", client.display()), "app.js").path()).await;
}

#[tokio::test]
async fn go() {
    let folder = folder("./function", "main.go");
    for file in ["go.mod", "go.sum"] {
        fs::copy(go::source().join(file), folder.path().join(file)).expect("it can be written");
    }
    let place = folder.path().to_owned();
    spawn_blocking(move || drop(go::build(&place, &place))).await.expect("building does not panic");
    shouts(folder.path()).await;
}

#[tokio::test]
async fn rust() {
    assert!(include_str!("../src/bin/shown-in-docs.rs").ends_with(shown("main.rs")), "the program is what is shown");
    let program = programs::own("shown-in-docs").expect("it is built with the tests");
    shouts(folder(&program.display().to_string(), "main.rs").path()).await;
}
