//! A runner in a process of its own, as a pod or `tidemill up` starts it.

use crate::{
    bed::Bed,
    process::{self, Process},
    wait::{PATIENCE, until},
};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::{ExitStatus, Stdio},
};
use tempfile::TempDir;
use tidemill_api::{
    Delivery, Function,
    plan::{KafkaPlan, Plan, TriggerPlan},
};
use tidemill_kafka::Connection;
use tidemill_runner::{
    config::{Access, Code, Config},
    consumer,
    report::Report,
    stats::Totals,
};
use tidemill_service::child::{self, Launcher};
use tidemill_testbed::programs;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
    sync::watch,
    task::JoinHandle,
};

/// What a runner is told: the `echo` function on `topic`, in a group of the same name, with
/// small pauses between attempts.
///
/// # Panics
/// When a program was not built.
#[must_use]
pub fn echo(bed: &Bed, topic: &str, output: Option<&str>) -> Config {
    let echo = programs::own("echo").expect("echo is built with the tests");
    function(bed, topic, output, &[&echo.display().to_string()])
}

/// What a runner is told: the command as the function on `topic`.
///
/// # Panics
/// Never: the manifest is a function's.
#[must_use]
pub fn function(bed: &Bed, topic: &str, output: Option<&str>, command: &[&str]) -> Config {
    let mut spec = json!({
        "image": "e2e",
        "trigger": {"kafka": {
            "cluster": "main", "topics": [topic], "group": topic,
            "batch": {"maxRecords": 500, "window": "50ms"},
        }},
        "retry": {"attempts": 2, "backoff": {"initial": "20ms", "max": "100ms"}},
    });
    if let Some(output) = output {
        spec["output"] = json!({"topic": output});
    }
    let spec = serde_json::from_value(spec).expect("the manifest is a function's");
    Config {
        plan: Plan::of(&Function::new("e2e", spec)),
        bootstrap_servers: bed.connection.bootstrap().to_owned(),
        access: Access::default(),
        output: None,
        code: program(command, None),
        environment: BTreeMap::new(),
        inherit: false,
    }
}

/// A program that the runner starts.
#[must_use]
pub fn program(command: &[&str], directory: Option<&Path>) -> Code {
    Code::Program {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        directory: directory.map(Path::to_owned),
    }
}

/// The same, with a variable set for the function.
#[must_use]
pub fn with(mut config: Config, name: &str, value: &str) -> Config {
    config.environment.insert(name.to_owned(), value.to_owned());
    config
}

/// The same, with `delivery: exactlyOnce`.
///
/// # Panics
/// When it has no output.
#[must_use]
pub fn exactly_once(mut config: Config) -> Config {
    config.plan.output.as_mut().expect("it has an output").delivery = Delivery::ExactlyOnce;
    config
}

/// The trigger of a function on Kafka.
///
/// # Panics
/// When it has a schedule.
#[must_use]
pub fn trigger(config: &mut Config) -> &mut KafkaPlan {
    match &mut config.plan.trigger {
        TriggerPlan::Kafka(kafka) => kafka,
        TriggerPlan::Schedule(_) => panic!("the function is on a schedule"),
    }
}

/// A runner. It ends with its test; where that fails, its log is shown.
pub struct Runner {
    child: Child,
    reports: watch::Receiver<Report>,
    reader: JoinHandle<()>,
    folder: TempDir,
}

impl Runner {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(config: &Config) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts it with variables of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(config: &Config, environment: &[(&str, &str)]) -> Self {
        Self::start_inside(config, environment, &[])
    }

    /// Starts it by another command, such as `ip netns exec NAME`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_inside(config: &Config, environment: &[(&str, &str)], inside: &[&str]) -> Self {
        if let TriggerPlan::Kafka(kafka) = &config.plan.trigger {
            // As the operator and `up` do before a function's first runner.
            let connection = Connection::plaintext(&config.bootstrap_servers);
            let begun = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(consumer::begin(&connection, kafka))
            });
            begun.expect("the group begins");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("config.json");
        fs::write(&file, serde_json::to_vec_pretty(config).expect("JSON")).expect("the folder can be written");
        let log = File::create(folder.path().join("log")).expect("the folder can be written");
        // What pods run; `tidemill runner` is the same code in a larger program.
        let program = programs::own("tidemill-runner").expect("tidemill-runner is built");
        let own = program.display().to_string();
        let words: Vec<&str> = inside.iter().copied().chain([own.as_str(), "--report", "--config"]).collect();
        let mut child = child::command(&Launcher::at(program), words[0])
            .args(&words[1..])
            .arg(&file)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the runner starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, reports) = watch::channel(Report::default());
        let reader = tokio::spawn(async move {
            while let Some(line) = lines.next_line().await.expect("the report can be read") {
                sender.send_replace(serde_json::from_str(&line).expect("a report"));
            }
        });
        Self { child, reports, reader, folder }
    }

    /// Its process.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().expect("the runner runs") as i32
    }

    /// The processes of its function.
    #[must_use]
    pub fn functions(&self) -> Vec<Process> {
        process::descendants(self.pid())
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When its log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the log is there")
    }

    /// The same as a file, which can be read also when it has ended.
    ///
    /// # Panics
    /// When its log cannot be opened.
    #[must_use]
    pub fn log_file(&self) -> File {
        File::open(self.folder.path().join("log")).expect("the log is there")
    }

    /// Its next report of which `enough` is so.
    ///
    /// # Panics
    /// When there is none in time.
    pub async fn report(&mut self, what: &str, enough: impl Fn(&Report) -> bool) -> Report {
        let found = tokio::time::timeout(PATIENCE, self.reports.wait_for(enough)).await;
        let found = found.ok().and_then(Result::ok).map(|report| report.clone());
        found.unwrap_or_else(|| panic!("the runner did not report {what}: {:?}", *self.reports.borrow()))
    }

    /// Status and text of a path of its admin listener.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn admin(&mut self, path: &str) -> (u16, String) {
        let address = self.report("its address", |report| !report.admin.is_empty()).await.admin;
        let response = reqwest::get(format!("http://{address}{path}")).await.expect("the admin listener answers");
        (response.status().as_u16(), response.text().await.expect("text"))
    }

    /// Waits until the admin listener answers `path` with that status.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn answers(&mut self, path: &str, status: u16) {
        until(&format!("{path} to answer {status}"), PATIENCE, async || {
            (self.admin(path).await.0 == status).then_some(())
        })
        .await;
    }

    /// SIGKILL, to it alone; answers what it had done, as far as it had told.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub async fn kill(self) -> Totals {
        process::signal(self.pid(), Signal::SIGKILL);
        self.ended().await.1
    }

    /// The same; answers how it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn killed(self) -> ExitStatus {
        process::signal(self.pid(), Signal::SIGKILL);
        self.ended().await.0
    }

    /// SIGTERM; answers what it had done in its life.
    ///
    /// # Panics
    /// When it does not end in time with exit code 0.
    pub async fn stop(self) -> Totals {
        process::signal(self.pid(), Signal::SIGTERM);
        let (status, totals) = self.ended().await;
        assert!(status.success(), "the runner ended with {status}");
        totals
    }

    /// How it has ended, where it has.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked for")
    }

    async fn ended(mut self) -> (ExitStatus, Totals) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("the runner ends").expect("it can be waited for");
        (&mut self.reader).await.expect("reading reports does not panic");
        (status, self.reports.borrow().totals)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("the runner's log:");
            last.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
