//! Commits of what is stored: one at a time.
//!
//! librdkafka's own timer sends one each interval, whether those before were answered or not. A
//! coordinator that takes longer than an interval, because its replicas are slow or it has gone, was
//! sent more and more of them; heartbeats waited behind them until the group forgot the member, and
//! each that failed had the client take the next coordinator for dead as well. So a thread asks for
//! them here, and waits for each: what was done meanwhile is in the next one.

use crate::consumer::{Consumer, Context};
use parking_lot::Mutex;
use rdkafka::{
    consumer::{CommitMode, Consumer as KafkaConsumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
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
const EXPELLED: Duration = Duration::from_secs(8);

/// How commits go.
#[derive(Debug)]
pub struct Commits {
    /// Held by whoever waits for one: a commit that is tried again must not overtake a later one.
    turn: Mutex<()>,
    state: Mutex<State>,
    /// Cancelled here when the whole runner must start again.
    failed: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// Since when every commit fails.
    failing: Option<Failing>,
    /// Since when every commit is refused because the group does not know the member.
    expelled: Option<Instant>,
    /// Whether partitions come or go at the moment.
    rebalancing: bool,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    said: bool,
}

/// The thread that commits.
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
            let commits = &consumer.context().commits;
            let each = || {
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    // There is nothing to commit, and librdkafka would take it for an occasion to send a heartbeat,
                    // at the wrong moment: see `membership`.
                    if !consumer.context().has_work() {
                        continue;
                    }
                    let result = commits.commit(&*consumer);
                    commits.take(&result, Instant::now());
                }
            };
            // Nobody else would hear of it, and nothing would be committed any more.
            if catch_unwind(AssertUnwindSafe(each)).is_err() {
                error!("the committing thread has panicked: the runner must start again");
                commits.failed.cancel();
            }
        };
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(work);
        Self { end, thread: thread.expect("a thread can be started") }
    }

    /// Ends it, after the commit that it waits for.
    pub fn end(self) {
        drop(self.end);
        self.thread.join().expect("it does not panic: that is caught");
    }
}

impl Commits {
    /// Nothing was committed yet.
    #[must_use]
    pub fn new(failed: CancellationToken) -> Self {
        Self { turn: Mutex::default(), state: Mutex::default(), failed }
    }

    /// Partitions come or go from now on, or no longer. Whoever hears of that is known to its group, or
    /// is about to join again; and hears of nothing else until it is over.
    pub fn rebalances(&self, whether: bool) {
        let mut state = self.state.lock();
        state.rebalancing = whether;
        state.expelled = None;
    }

    /// Whether partitions come or go at the moment.
    #[must_use]
    pub fn is_rebalancing(&self) -> bool {
        self.state.lock().rebalancing
    }

    /// Has the whole runner start again.
    pub fn fail(&self) {
        self.failed.cancel();
    }

    /// Commits what is stored, before partitions are given back.
    ///
    /// While others join or leave, the coordinator takes no commit for a moment: not to ask again
    /// would have the next owner repeat what was done since the last commit.
    pub fn commit_surely(&self, consumer: &impl KafkaConsumer<Context>) {
        let asked = Instant::now();
        loop {
            match self.commit(consumer) {
                Ok(()) => return,
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

    /// Commits, and waits for the answer; that there is nothing new is none.
    fn commit(&self, consumer: &impl KafkaConsumer<Context>) -> KafkaResult<()> {
        let _turn = self.turn.lock();
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Err(KafkaError::ConsumerCommit(Code::NoOffset)) => Ok(()),
            result => result,
        }
    }

    /// Takes in how a commit ended at that time; the next one has all that this one had.
    fn take(&self, result: &KafkaResult<()>, now: Instant) {
        let mut state = self.state.lock();
        let error = match result {
            Ok(()) => {
                (state.failing, state.expelled) = (None, None);
                return;
            }
            // What another owns now is nobody's here to commit: the revocation says so.
            Err(KafkaError::ConsumerCommit(Code::AssignmentLost)) => return,
            Err(error) => error,
        };
        metrics::counter!("tidemill_runner_commit_errors_total").increment(1);
        let failing = state.failing.get_or_insert(Failing { since: now, said: false });
        if failing.said || now - failing.since < QUIET {
            debug!(%error, "offsets not committed yet");
        } else {
            failing.said = true;
            warn!(%error, "offsets are not committed, and will be tried again; a runner that ended now would have records repeated");
        }
        let unknown = matches!(
            error.rdkafka_error_code(),
            Some(Code::UnknownMemberId | Code::FencedMemberEpoch | Code::GroupIdNotFound)
        );
        if unknown && !state.rebalancing {
            self.expelled(&mut state, now);
        }
    }

    /// A coordinator that took over may have forgotten the member; librdkafka 2.12 then hears of it only
    /// from its commits, and reads on from partitions that are not its own any more, where its
    /// heartbeats have ended: now and then it sends no other after one that timed out or was retried
    /// while a coordinator went. To start again is what joins the group.
    fn expelled(&self, state: &mut State, now: Instant) {
        let since = *state.expelled.get_or_insert(now);
        if now - since > EXPELLED && !self.failed.is_cancelled() {
            error!("the group does not know this member: the runner must start again");
            self.failed.cancel();
        }
    }
}

fn passes(code: Code) -> bool {
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

#[cfg(test)]
mod tests {
    use super::{Commits, EXPELLED};
    use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
    use std::time::{Duration, Instant};
    use tokio_util::sync::CancellationToken;

    /// What is heard, a second each.
    enum Heard {
        Committed,
        Refused(Code),
        Rebalances(bool),
    }
    use Heard::{Committed, Rebalances, Refused};

    /// Whether the runner has to start again.
    fn gives_up(heard: impl IntoIterator<Item = Heard>) -> bool {
        let commits = Commits::new(CancellationToken::new());
        let mut now = Instant::now();
        for heard in heard {
            now += Duration::from_secs(1);
            match heard {
                Committed => commits.take(&Ok(()), now),
                Refused(code) => commits.take(&Err(KafkaError::ConsumerCommit(code)), now),
                Rebalances(whether) => commits.rebalances(whether),
            }
        }
        commits.failed.is_cancelled()
    }

    #[test]
    fn only_who_is_forgotten_for_long_starts_again() {
        let long = EXPELLED.as_secs() as usize + 2;
        let refused = |code| std::iter::repeat_with(move || Refused(code));
        let forgotten = || refused(Code::UnknownMemberId);
        assert!(gives_up(forgotten().take(long)));
        for gone in [Code::FencedMemberEpoch, Code::GroupIdNotFound] {
            assert!(gives_up(refused(gone).take(long)), "{gone}");
        }
        assert!(!gives_up(forgotten().take(long - 1)), "it may still hear of it");
        for others in [Code::NotCoordinator, Code::StaleMemberEpoch, Code::RequestTimedOut, Code::AssignmentLost] {
            assert!(!gives_up(refused(others).take(10 * long)), "{others}: its group may know it");
        }
        let between = |what| forgotten().take(long - 1).chain([what]).chain(forgotten().take(long - 1));
        assert!(!gives_up(between(Committed)));
        assert!(!gives_up(between(Rebalances(false))), "it has heard something");
        assert!(gives_up(between(Refused(Code::NotCoordinator))), "that is no news of its group");
        let drains = || [Rebalances(true)].into_iter().chain(forgotten().take(10 * long));
        assert!(!gives_up(drains()), "it hears of nothing while partitions drain");
        assert!(gives_up(drains().chain([Rebalances(false)]).chain(forgotten().take(long))));
    }
}
