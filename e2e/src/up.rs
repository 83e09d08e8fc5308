//! `tidemill up` in a process of its own, on free ports.

use crate::{
    process::{self, Process},
    wait::{PATIENCE, until},
};
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};
use tidemill_testbed::programs;
use tokio::process::{Child, Command};

/// A way to run a folder of manifests.
#[derive(Clone, Debug)]
pub struct Up {
    /// The folder with the manifests.
    pub folder: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The ports of edge, Kafka, Redis and S3.
    pub ports: [u16; 4],
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Variables beside those of this process.
    pub environment: Vec<(String, String)>,
}

/// What a run with `--once` did.
#[derive(Debug, Deserialize)]
pub struct Summary {
    /// From start to end.
    pub seconds: f64,
    /// By function.
    pub functions: BTreeMap<String, Counts>,
}

/// What a function did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Records with a durable outcome.
    pub r#in: u64,
    /// Records produced.
    pub out: u64,
    /// Records left out on purpose.
    pub dropped: u64,
    /// Dead letters.
    pub dead_lettered: u64,
}

impl Up {
    /// `folder` with its state in `state`, on free ports.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn new(folder: &Path, state: &Path) -> Self {
        let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = listeners.each_ref().map(|listener| listener.local_addr().expect("bound").port());
        Self {
            folder: folder.to_owned(),
            state: state.to_owned(),
            ports,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The same with further arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// The same with a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The words of the command line.
    ///
    /// # Panics
    /// When the program was not built.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let [edge, kafka, redis, s3] = self.ports;
        let program = programs::own("tidemill").expect("tidemill is built").display().to_string();
        let words = [program, "up".to_owned(), self.folder.display().to_string()];
        let options = [
            ("--state", self.state.display().to_string()),
            ("--addr", format!("127.0.0.1:{edge}")),
            ("--kafka-port", kafka.to_string()),
            ("--redis-port", redis.to_string()),
            ("--s3-port", s3.to_string()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        words.into_iter().chain(options).chain(self.arguments.clone()).collect()
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn output(&self) -> Output {
        let output = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        tokio::time::timeout(2 * PATIENCE, output).await.expect("it ends in time").expect("it can be started")
    }

    /// Runs it with `--once` and answers what it did.
    ///
    /// # Panics
    /// When it fails.
    pub async fn once(&self, arguments: &[&str]) -> Summary {
        let output = self.clone().with(&["--once", "--output", "json"]).with(arguments).output().await;
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a summary")
    }

    /// Runs it where it must be refused, and answers what it says on standard error.
    ///
    /// # Panics
    /// When it ends well, or leaves a process.
    pub async fn refused(&self) -> String {
        let output = self.output().await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "it should have been refused: {said}");
        assert_eq!(self.processes(), []);
        said
    }

    /// Starts it and waits until its edge is healthy.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn live(&self) -> Live {
        let output = self.state.with_extension("output");
        let file = File::create(&output).expect("the temporary folder can be written");
        let child = self.command().stdout(file.try_clone().expect("a handle")).stderr(file).spawn();
        let mut live = Live { up: self.clone(), child: child.expect("it can be started"), output };
        until("the edge to be healthy", PATIENCE, async || {
            let ended = live.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it ended: {}", live.said());
            self.healthy().await.then_some(())
        })
        .await;
        live
    }

    /// Whether the edge is healthy.
    pub async fn healthy(&self) -> bool {
        reqwest::get(self.url("/health")).await.is_ok_and(|response| response.status().is_success())
    }

    /// A URL of the edge.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports[0])
    }

    /// Its processes: those that know its state folder or its Redis.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let state = self.state.display().to_string();
        process::naming(&[&state, &format!("redis://127.0.0.1:{}/", self.ports[2])])
    }

    /// Waits until none of its processes is left.
    ///
    /// # Panics
    /// When one still is after `patience`.
    pub async fn gone(&self, patience: Duration) {
        let mut left = Vec::new();
        let gone = until("its processes to end", patience, async || {
            left = self.processes();
            left.is_empty().then_some(())
        });
        gone.await;
    }

    fn command(&self) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.environment.clone()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// A live run. It ends with its test.
#[derive(Debug)]
pub struct Live {
    /// How it was started.
    pub up: Up,
    child: Child,
    output: PathBuf,
}

impl Live {
    /// Its process.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().expect("it runs") as i32
    }

    /// What it has written.
    ///
    /// # Panics
    /// When its output cannot be read.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.output).expect("its output is there")
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn end(mut self, signal: Signal) -> ExitStatus {
        process::signal(self.pid(), signal);
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("it ends in time").expect("it can be waited for")
    }
}
