//! The groups that work on the input, one for each promise, and the runners in them.

use super::{clock::Clock, ledger::Promise, network::Network};
use crate::{
    bed::Bed,
    process::{self, Process},
    runner::{Runner, exactly_once, function, trigger, with},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::process::ExitStatusExt,
    time::Duration,
};
use tidemill_api::{Ordering, S3Destination, plan::FailurePlan};
use tidemill_embedded::s3::{ACCESS_KEY, SECRET_KEY};
use tidemill_runner::config::Config;
use tidemill_testbed::programs::own;

/// The bucket for failed records.
pub const BUCKET: &str = "faults";

/// How a group works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `ordering: partition`.
    Partition,
    /// `ordering: key`, four lanes.
    Key,
    /// `ordering: none`, four invocations at once.
    None,
    /// `batch.spanPartitions`.
    Spanning,
    /// `delivery: exactlyOnce`.
    ExactlyOnce,
    /// `notify`, which writes Redis.
    Redis,
    /// A function that does not like some records; those go to S3.
    S3,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Partition, Self::Key, Self::None, Self::Spanning, Self::ExactlyOnce, Self::Redis, Self::S3];

    /// Its name in messages and topics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Key => "key",
            Self::None => "none",
            Self::Spanning => "spanning",
            Self::ExactlyOnce => "exactlyOnce",
            Self::Redis => "redis",
            Self::S3 => "s3",
        }
    }

    /// What it promises.
    #[must_use]
    pub const fn promise(self) -> Promise {
        match self {
            Self::Partition | Self::Key | Self::None | Self::Spanning | Self::S3 => Promise::AtLeastOnce,
            Self::ExactlyOnce | Self::Redis => Promise::Once,
        }
    }

    /// Whether records of a key come out in their order.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether it has a second runner, behind the network that can be cut.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        !matches!(self, Self::Redis | Self::S3)
    }

    /// Where its records come out, where that is a topic.
    #[must_use]
    pub fn output(self, bed: &Bed) -> Option<String> {
        (self != Self::Redis).then(|| bed.unique(&format!("out-{}", self.name())))
    }

    /// Where its failed records go, where that is a topic.
    #[must_use]
    pub fn letters(self, bed: &Bed) -> Option<String> {
        (self != Self::S3).then(|| bed.unique(&format!("failed-{}", self.name())))
    }

    fn config(self, bed: &Bed, input: &str, redis: &str) -> Config {
        let program = own(if self == Self::Redis { "notify" } else { "echo" }).expect("the function is built");
        let output = self.output(bed);
        let mut config = function(bed, input, output.as_deref(), &[&program.display().to_string()]);
        trigger(&mut config).group = bed.unique(self.name());
        trigger(&mut config).batch.window = tidemill_api::Duration::from_millis(400);
        // Redis may be away for longer than two attempts take.
        config.plan.retry.attempts = 1_000;
        if matches!(self, Self::Partition | Self::Spanning) {
            // Which event each record was in.
            config = with(config, "TELL_CONTEXT", "true");
        }
        match self {
            Self::Partition => {}
            Self::Key | Self::None => {
                trigger(&mut config).ordering = if self == Self::Key { Ordering::Key } else { Ordering::None };
                trigger(&mut config).batch.max_records = 10;
                config.plan.concurrency = 4;
            }
            Self::Spanning => trigger(&mut config).batch.span_partitions = true,
            Self::ExactlyOnce => config = exactly_once(config),
            Self::Redis => config = with(config, "REDIS_URL", redis),
            Self::S3 => {
                config.plan.retry.attempts = 1;
                config = with(config, "REPORT_ON", "poison");
            }
        }
        config.plan.on_failure = match self.letters(bed) {
            Some(topic) => FailurePlan::Topic(topic),
            None => FailurePlan::S3(S3Destination { bucket: BUCKET.to_owned(), prefix: String::new() }),
        };
        config
    }
}

/// One runner's place in its group: where it runs, and that it does.
pub struct Seat {
    runner: Option<Runner>,
    /// What those before it have logged, to its end.
    logs: Vec<File>,
    config: Config,
    environment: Vec<(String, String)>,
    inside: Vec<String>,
}

impl Seat {
    fn new(config: Config, environment: Vec<(String, String)>, inside: Vec<String>) -> Self {
        Self { runner: None, logs: Vec::new(), config, environment, inside }
    }

    /// Starts its runner.
    pub fn start(&mut self) {
        let environment: Vec<_> = self.environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        let inside: Vec<_> = self.inside.iter().map(String::as_str).collect();
        self.runner = Some(Runner::start_inside(&self.config, &environment, &inside));
    }

    /// kill -9 of the runner; answers whether it ended by that.
    pub async fn kill(&mut self) -> bool {
        let Some(runner) = self.take() else { return false };
        runner.killed().await.signal() == Some(Signal::SIGKILL as i32)
    }

    /// The runner, which is about to end.
    fn take(&mut self) -> Option<Runner> {
        let runner = self.runner.take()?;
        self.logs.push(runner.log_file());
        Some(runner)
    }

    /// Ends its runner in order.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        if let Some(runner) = self.take() {
            runner.stop().await;
        }
    }

    /// Sends the runner a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(runner) = &self.runner {
            process::signal(runner.pid(), signal);
        }
    }

    /// Whether the runner is there and stands still.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    /// Whether the runner is there and does not stand still.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.state().is_some_and(|state| state != 'T')
    }

    fn state(&self) -> Option<char> {
        process::state(self.runner.as_ref()?.pid())
    }

    /// The processes of its function.
    #[must_use]
    pub fn functions(&self) -> Vec<Process> {
        self.runner.as_ref().map(Runner::functions).unwrap_or_default()
    }

    /// Starts a runner again that has ended by itself, as its pod would; answers why it had.
    fn tend(&mut self) -> Option<String> {
        let runner = self.runner.as_mut()?;
        let status = runner.has_ended()?;
        // Whoever was killed did not end for what it said before.
        let said = status.code().and_then(|_| last_error(&runner.log()));
        self.logs.push(runner.log_file());
        self.start();
        Some(said.map_or_else(|| format!("{status}, and no error was logged"), |said| format!("{status}: {said}")))
    }

    /// The last lines of the runner's log.
    fn last_words(&self) -> String {
        let log = self.runner.as_ref().map(Runner::log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// All that its runners have logged, one after the other.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let mut log = String::new();
        for mut file in self.logs.iter().chain(self.runner.as_ref().map(Runner::log_file).as_ref()) {
            file.rewind().expect("a log has a beginning");
            file.read_to_string(&mut log).expect("a log is text");
        }
        log
    }
}

/// A group.
pub struct Group {
    /// How it works.
    pub mode: Mode,
    /// Its runners; the second is behind the network that can be cut.
    pub seats: Vec<Seat>,
    /// Why each of them had ended that did so by itself, and was started again.
    pub restarts: Vec<String>,
}

/// Where a group finds what is not Kafka.
pub struct Surroundings<'a> {
    /// The network that can be cut.
    pub network: &'a Network,
    /// How brokers are reached from there.
    pub bootstrap: String,
    /// Redis.
    pub redis: String,
    /// S3.
    pub s3: String,
}

impl Group {
    /// Starts its runners.
    #[must_use]
    pub fn start(mode: Mode, bed: &Bed, input: &str, surroundings: &Surroundings<'_>) -> Self {
        let config = mode.config(bed, input, &surroundings.redis);
        let environment = [
            ("AWS_ENDPOINT_URL_S3", surroundings.s3.as_str()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ];
        let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let seat = |config, inside| Seat::new(config, environment.clone(), inside);
        let mut seats = vec![seat(config.clone(), Vec::new())];
        if mode.is_shared() {
            let there = Config { bootstrap_servers: surroundings.bootstrap.clone(), ..config };
            seats.push(seat(there, surroundings.network.inside().to_vec()));
        }
        seats.iter_mut().for_each(Seat::start);
        Self { mode, seats, restarts: Vec::new() }
    }

    /// Whether runners of it share the work.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.mode.is_shared()
    }

    /// One more runner, whose clock can be set.
    #[must_use]
    pub fn with_clock(&self, clock: &Clock) -> Seat {
        let Seat { config, environment, .. } = &self.seats[0];
        let config = with(config.clone(), "TELL_CONTEXT", "true");
        let environment = environment.iter().cloned().chain(clock.variables()).collect();
        let mut seat = Seat::new(config, environment, Vec::new());
        seat.start();
        seat
    }

    /// Starts runners again that have ended by themselves.
    pub fn tend(&mut self) {
        self.restarts.extend(self.seats.iter_mut().filter_map(Seat::tend));
    }

    /// Ends its runners in order.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn stop(&mut self) {
        for seat in &mut self.seats {
            seat.stop().await;
        }
    }

    /// What its runners said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.seats.iter().map(Seat::last_words).collect::<Vec<_>>().join("\n--\n")
    }
}

/// What a log says last at the level of errors; else what the program ended with.
fn last_error(log: &str) -> Option<String> {
    let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let Some(error) = lines.find(|line| line["level"] == "ERROR") else {
        return log.lines().rev().find(|line| line.starts_with("Error: ")).map(str::to_owned);
    };
    let texts = [&error["message"], &error["error"]];
    Some(texts.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(": "))
}

/// kill -9 of a process that may have ended; answers whether it had not.
pub fn end(process: &Process) -> bool {
    let killed = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
    if let Err(error) = killed {
        println!("{} has ended by itself: {error}", process.command);
    }
    killed.is_ok()
}

/// How long a member is missed before its partitions go to others, as the brokers have it.
pub const SESSION: Duration = Duration::from_secs(10);
