//! One function, written in each language on AWS's official client: its files are in
//! `e2e/functions`, the Rust one is `echo`.
//!
//! It answers each record with a record of the same key and value, with what Lambda's context says
//! in headers, unless one of the batch's values has a word: `poison` fails it, `sleep` takes longer
//! than any timeout, `exit` ends the process with 7, `large` makes an answer of 7 MiB and `shape`
//! one that is no answer. The words have letters that the text of numbered records has not.

use crate::{
    bed::Bed,
    go,
    kube::root,
    node, python,
    runner::{echo, function, program, with},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_runner::config::Config;
use tokio::task::spawn_blocking;

/// A language that AWS has a client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `lambda_runtime`
    Rust,
    /// `awslambdaric`
    Python,
    /// `aws-lambda-ric`
    Node,
    /// `aws-lambda-go`
    Go,
}

impl Language {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Rust, Self::Python, Self::Node, Self::Go];

    /// The file of the function that the client loads when it starts; the others are programs.
    #[must_use]
    pub fn handler(self) -> Option<PathBuf> {
        let file = match self {
            Self::Python => "functions/python/app.py",
            Self::Node => "functions/node/app.js",
            Self::Rust | Self::Go => return None,
        };
        Some(root().join("e2e").join(file))
    }

    /// What a runner is told: the function on `topic`. A handler is looked for in `folder`.
    ///
    /// # Panics
    /// When the function cannot be built, or its client not be installed.
    pub async fn function(self, bed: &Bed, topic: &str, output: &str, folder: &Path) -> Config {
        let of = |command: &[&str]| {
            let mut config = function(bed, topic, Some(output), command);
            config.code = program(command, Some(folder));
            config.plan.handler = "app.answer".to_owned();
            config
        };
        match self {
            Self::Rust => {
                let variables = [
                    ("FAIL_ON", "poison"),
                    ("SLEEP_ON", "sleep"),
                    ("SLEEP_MS", "600000"),
                    ("EXIT_ON", "exit"),
                    ("BIG_ON", "large"),
                    ("ANSWER_ON", "shape"),
                    ("ANSWER", r#"{"record": []}"#),
                    ("TELL_CONTEXT", "true"),
                ];
                let echo = echo(bed, topic, Some(output));
                variables.into_iter().fold(echo, |config, (name, value)| with(config, name, value))
            }
            Self::Python => {
                let python = prepared(python::with_client).await;
                of(&[&python, "-m", "awslambdaric", "app.answer"])
            }
            Self::Node => of(&["node", &prepared(node::client).await, "app.answer"]),
            Self::Go => of(&[&prepared(go::function).await]),
        }
    }

    /// Puts the handler into a folder, where there is one.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(self, folder: &Path) {
        if let Some(file) = self.handler() {
            let name = file.file_name().expect("it is a file");
            fs::copy(&file, folder.join(name)).expect("the folder can be written");
        }
    }
}

async fn prepared(prepare: fn() -> PathBuf) -> String {
    spawn_blocking(prepare).await.expect("preparing does not panic").display().to_string()
}
