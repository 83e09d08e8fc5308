//! One function process: started, watched, killed when it takes too long, started again.
//!
//! A process that can't be started, or ends before it asks for work, is tried again with
//! back-off for as long as the runner lives. Its records wait meanwhile; they do not fail.

use crate::{
    api_thread::ApiThread,
    health::Vitals,
    invocation::{Failed, State},
    pool::Queue,
    runtime_api::{INIT_ERROR, Progress, Slot, Slots},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tidemill_service::child::{self, Launcher};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpListener,
    process::Child,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a process may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pauses between starts that fail: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// After so long without a call for work it is said that there was none; Lambda gives a function as long to begin.
const SLOW: Duration = Duration::from_secs(10);
/// The longest line of a function's output that is kept in one piece, in bytes.
const LONGEST_LINE: usize = 64 << 10;
/// How much of what a process wrote last to standard error is told with its end, in bytes.
const LAST_WORDS: usize = 400;

/// How to start the function.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// Its whole environment, but for what the Runtime API adds.
    pub environment: BTreeMap<String, String>,
    /// What ties it to this process.
    pub launcher: Launcher,
    /// The function's name, as it is told.
    pub function: String,
    /// `_HANDLER`.
    pub handler: String,
    /// MiB of memory, as it is told.
    pub memory_mib: u64,
}

/// Keeps one process running.
pub struct Supervisor {
    /// How to start it.
    pub bootstrap: Arc<Bootstrap>,
    /// What answers its calls.
    pub api: Arc<ApiThread>,
    /// Where its work comes from.
    pub queue: Queue,
    /// Who is told how it is.
    pub vitals: Arc<Vitals>,
    /// Cancelled when it should end.
    pub stop: CancellationToken,
    /// How long an invocation may take.
    pub timeout: Duration,
}

/// How a process's life ended.
enum End {
    /// It was told to.
    Stopped,
    /// It asked for work at least once.
    AfterWork(String),
    /// It never asked for work, and said why in an init error.
    Explained(String),
    /// It never asked for work.
    BeforeWork(String),
}

impl Supervisor {
    /// Starts the process again and again until told to stop.
    pub async fn run(self) {
        let mut pause = PAUSES.0;
        loop {
            let end = match self.live().await {
                Ok(end) => end,
                Err(error) => End::BeforeWork(format!("{} cannot be started: {error}", self.program())),
            };
            match end {
                End::Stopped => return,
                End::AfterWork(reason) => {
                    warn!(reason, "function process ended");
                    pause = PAUSES.0;
                }
                End::BeforeWork(reason) | End::Explained(reason) => {
                    warn!(reason, retry_in = ?pause, "function process failed to start");
                    metrics::counter!("tidemill_runner_init_failures_total").increment(1);
                    self.vitals.fails(reason);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            }
        }
    }

    /// One life of the process.
    async fn live(&self) -> io::Result<End> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (slot, mut changes) = Slot::new(self.queue.clone(), &self.bootstrap.function);
        let slots = Slots { all: vec![slot.clone()] };
        let server = self.api.serve(listener, Arc::new(slots))?;
        let mut process = self.spawn(&address).inspect_err(|_| server.abort())?;
        let last_words = Arc::new(Mutex::new(LastWords::default()));
        let forwarders = forward_output(&mut process, &slot, &last_words);
        let mut at_work = None;
        let mut slow = Some(Instant::now() + SLOW);
        let mut refused = None;
        let end = loop {
            let Progress { asked, deadline, init_failed, .. } = *changes.borrow_and_update();
            if asked || init_failed {
                slow = None;
            }
            if init_failed {
                refused.get_or_insert_with(|| Instant::now() + INIT_ERROR);
            }
            if asked && at_work.is_none() {
                at_work = Some(self.vitals.begins());
            }
            tokio::select! {
                status = process.wait() => break self.ended(&slot, status?),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    // It may have answered, and have the next invocation.
                    if slot.progress.borrow().deadline.is_none_or(|deadline| deadline > Instant::now()) {
                        continue;
                    }
                    child::kill(&mut process).await?;
                    slot.state.lock().end(Failed::Timeout(self.timeout));
                    metrics::counter!("tidemill_runner_timeouts_total").increment(1);
                    break End::AfterWork(format!("killed after {:?} without an answer", self.timeout));
                }
                () = sleep_until(refused.unwrap_or_else(Instant::now)), if refused.is_some() => {
                    let status = child::kill(&mut process).await?;
                    break self.ended(&slot, status);
                }
                () = sleep_until(slow.unwrap_or_else(Instant::now)), if slow.is_some() => {
                    slow = None;
                    let reason = format!("{} has not asked for work for {SLOW:?}", self.program());
                    warn!(reason, "function process is slow to start");
                    self.vitals.is_slow(last_words.lock().after(reason));
                }
                changed = changes.changed() => debug_assert!(changed.is_ok(), "the slot holds the sender"),
                () = self.stop.cancelled() => {
                    child::stop(&mut process, PATIENCE).await?;
                    slot.state.lock().end(Failed::Stopping);
                    break End::Stopped;
                }
            }
        };
        slot.ended.cancel();
        server.abort();
        for forwarder in forwarders {
            // The pipes close with the process group; a grandchild that keeps one is not waited for.
            drop(tokio::time::timeout(Duration::from_millis(200), forwarder).await);
        }
        Ok(match end {
            End::BeforeWork(reason) => End::BeforeWork(last_words.lock().after(reason)),
            end => end,
        })
    }

    fn ended(&self, slot: &Slot, status: ExitStatus) -> End {
        let reason = describe(status);
        let mut state = slot.state.lock();
        let complaint = match &*state {
            State::InitFailed(complaint) => Some(complaint.clone()),
            _ => None,
        };
        state.end(Failed::Crash(reason.clone()));
        match complaint {
            Some(complaint) => End::Explained(format!("{} reported an init error: {complaint}", self.program())),
            None if slot.progress.borrow().asked => End::AfterWork(reason),
            None => End::BeforeWork(format!("{} ended before it asked for work: {reason}", self.program())),
        }
    }

    fn spawn(&self, api: &str) -> io::Result<Child> {
        let bootstrap = &self.bootstrap;
        let (program, arguments) = bootstrap
            .command
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut command = child::command(&bootstrap.launcher, program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("TZ", ":UTC")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .envs(&bootstrap.environment)
            // It has one invocation at a time, whatever others are told.
            .env_remove("AWS_LAMBDA_MAX_CONCURRENCY")
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", &bootstrap.function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", bootstrap.memory_mib.to_string())
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", bootstrap.function))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", std::process::id().to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_EXECUTION_ENV", "AWS_Lambda_provided")
            .env("_HANDLER", &bootstrap.handler)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(directory) = &bootstrap.directory {
            command.current_dir(directory).env("LAMBDA_TASK_ROOT", directory);
        }
        let process = command.spawn()?;
        info!(pid = process.id(), program = %self.program(), "function process started");
        Ok(process)
    }

    fn program(&self) -> String {
        self.bootstrap.command.first().map_or_else(String::new, |program| program.to_string_lossy().into_owned())
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last lines of a process's standard error, as many as fit.
#[derive(Debug, Default)]
struct LastWords {
    lines: VecDeque<String>,
    bytes: usize,
}

impl LastWords {
    fn heard(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let line = &line[..line.floor_char_boundary(LAST_WORDS)];
        let line = line.replace(char::is_control, " ");
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > LAST_WORDS
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len();
        }
    }

    /// The reason, with what the process said of it.
    fn after(&self, reason: String) -> String {
        self.lines
            .iter()
            .enumerate()
            .fold(reason, |text, (index, line)| text + if index == 0 { ": " } else { " | " } + line)
    }
}

/// The function's own output becomes log lines with the request id in flight.
fn forward_output(
    process: &mut Child,
    slot: &Arc<Slot>,
    last_words: &Arc<Mutex<LastWords>>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let stdout = process.stdout.take().map(|pipe| tokio::spawn(forward(pipe, "stdout", slot.clone(), None)));
    let last_words = Some(last_words.clone());
    let stderr = process.stderr.take().map(|pipe| tokio::spawn(forward(pipe, "stderr", slot.clone(), last_words)));
    stdout.into_iter().chain(stderr).collect()
}

async fn forward(
    pipe: impl AsyncRead + Unpin,
    stream: &'static str,
    slot: Arc<Slot>,
    last_words: Option<Arc<Mutex<LastWords>>>,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                if let Some(last_words) = &last_words {
                    last_words.lock().heard(&text);
                }
                let id = slot.latest.lock().clone();
                info!(target: "function", request_id = id, stream, "{}", text.trim_end());
            }
            Err(error) => {
                warn!(%error, stream, "a function's output could not be read");
                return;
            }
        }
    }
}

/// Reads to the end of the line, or a piece of at most [`LONGEST_LINE`] bytes.
async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin), line: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(line.len());
        }
        let room = LONGEST_LINE - line.len();
        let end = available.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or_else(|| available.len().min(room));
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if end.is_some() || line.len() == LONGEST_LINE {
            return Ok(line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_WORDS, LastWords};

    #[test]
    fn the_last_lines_that_fit_are_told() {
        let mut words = LastWords::default();
        assert_eq!(words.after("exit code 1".to_owned()), "exit code 1");
        for line in ["first\n", "\n", "  second\tpart \r\n"] {
            words.heard(line);
        }
        assert_eq!(words.after("exit code 1".to_owned()), "exit code 1: first | second part");
        words.heard(&"é".repeat(LAST_WORDS));
        words.heard("last");
        assert_eq!(words.after("x".to_owned()), "x: last");
        words.heard(&"é".repeat(LAST_WORDS));
        assert_eq!(words.after(String::new()).len(), LAST_WORDS + 2);
    }
}
