//! Commits of what is stored: one at a time.
//!
//! librdkafka's own timer sends one each interval, whether those before were answered or not. A
//! coordinator that takes longer than an interval, because its replicas are slow or it has gone, was
//! sent more and more of them; heartbeats waited behind them until the group forgot the member, and
//! each that failed had the client take the next coordinator for dead as well. So a thread asks for
//! them here, and waits for each: what was done meanwhile is in the next one.

use crate::consumer::Consumer;
use parking_lot::Mutex;
use rdkafka::{
    consumer::{CommitMode, Consumer as KafkaConsumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Between two commits.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long a last commit is tried, and how often.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// How long commits may fail in a row until that is said.
const QUIET: Duration = Duration::from_secs(2);
/// How long the group may not know the member: so long it may take to hear of it and to join again.
const EXPELLED: Duration = Duration::from_secs(20);

/// How commits go.
#[derive(Debug)]
pub struct Commits {
    state: Mutex<State>,
    /// Cancelled here when the whole runner must start again.
    failed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Since when every commit fails; none was said yet.
    failing: Option<(Instant, bool)>,
    /// Since when every commit is refused because the group does not know the member.
    expelled: Option<Instant>,
}

/// The thread that commits. It ends with this, after the commit that it waits for.
pub struct Committer {
    end: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Committer {
    /// Begins to commit what the consumer has stored.
    ///
    /// # Panics
    /// When no thread can be started.
    #[must_use]
    pub fn start(consumer: &Arc<Consumer>) -> Self {
        let (end, ended) = sync_channel(0);
        let consumer = consumer.clone();
        let work = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                consumer.context().commits.take(&consumer.commit_consumer_state(CommitMode::Sync));
            }
        };
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(work);
        Self { end, thread: thread.expect("a thread can be started") }
    }

    /// Ends it. It waits, so it is nothing for an asynchronous task.
    pub fn end(self) {
        drop(self.end);
        if self.thread.join().is_err() {
            error!("the committing thread has panicked");
        }
    }
}

impl Commits {
    /// Nothing was committed yet.
    #[must_use]
    pub fn new(failed: CancellationToken) -> Self {
        Self { state: Mutex::default(), failed }
    }

    /// Takes in that the group has told something: whoever hears of it is known, or is about to
    /// join again.
    pub fn heard(&self) {
        self.state.lock().expelled = None;
    }

    /// Takes in how a commit ended; the next one has all that this one had.
    fn take(&self, result: &KafkaResult<()>) {
        let mut state = self.state.lock();
        let code = match result {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {
                state.failing = None;
                if result.is_ok() {
                    state.expelled = None;
                }
                return;
            }
            Err(error) => {
                metrics::counter!("tidemill_runner_commit_errors_total").increment(1);
                let (since, said) = *state.failing.get_or_insert_with(|| (Instant::now(), false));
                if said || since.elapsed() < QUIET {
                    debug!(%error, "offsets not committed yet");
                } else {
                    warn!(%error, "offsets are not committed, and will be tried again; a runner that ended now would have records repeated");
                    state.failing = Some((since, true));
                }
                error.rdkafka_error_code()
            }
        };
        self.look_for_expulsion(&mut state, code);
    }

    /// A coordinator that took over may have forgotten the member; librdkafka then hears of it only
    /// from its commits where its heartbeat was lost on the way, and goes on reading partitions
    /// that are not its own any more. To start again is what joins the group.
    fn look_for_expulsion(&self, state: &mut State, code: Option<RDKafkaErrorCode>) {
        use RDKafkaErrorCode as Code;
        if !matches!(code, Some(Code::UnknownMemberId | Code::FencedMemberEpoch)) {
            return;
        }
        let since = *state.expelled.get_or_insert_with(Instant::now);
        if since.elapsed() > EXPELLED && !self.failed.is_cancelled() {
            error!("the group does not know this member: the runner must start again");
            self.failed.cancel();
        }
    }
}

/// Commits what is stored, before partitions are given back.
///
/// While others join or leave, the coordinator takes no commit for a moment: not to ask again
/// would have the next owner repeat what was done since the last commit.
pub fn commit_surely<C: ConsumerContext>(consumer: &impl KafkaConsumer<C>) {
    let asked = Instant::now();
    loop {
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => return,
            Err(KafkaError::ConsumerCommit(code)) if passes(code) && asked.elapsed() < PATIENCE => {
                debug!(%code, "offsets not committed yet");
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                metrics::counter!("tidemill_runner_commit_errors_total").increment(1);
                warn!(%error, "offsets not committed; records may be repeated");
                return;
            }
        }
    }
}

fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::RebalanceInProgress
            | Code::IllegalGeneration
            | Code::NotCoordinator
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::RequestTimedOut
            | Code::OperationTimedOut
            | Code::WaitingForCoordinator
            | Code::StaleMemberEpoch
    )
}
