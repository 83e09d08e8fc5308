//! A function in a container of its own beside the runner: its processes are started and started
//! again by the kubelet, and known here by the connections they make ([`crate::caller`]).
//!
//! Each slot belongs to the process that asked for work there last: its end fails what that has in flight, and
//! it is killed when it takes too long. Where it can't be known, an invocation that takes too long is given up
//! on. A client that works in several processes replaces none that has ended: the others then end what they
//! have, and are ended, so that the kubelet starts the container again.

use crate::{
    api_thread::ApiThread,
    caller::Process,
    health::Health,
    invocation::{Failed, State},
    pool::Queue,
    runtime_api::{INIT_ERROR, Progress, Slot, Slots},
};
use futures::future::select_all;
use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};
use tidemill_service::admin::Readiness;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// So many calls for each lane come from a process until it is taken to be the only one.
const ALONE: usize = 4;
/// How long until a process that was not found is looked for again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long another process may take to come in place of one that has ended, while others live.
const REPLACED: Duration = Duration::from_secs(2);

/// Serves the Runtime API to a function in another container.
pub struct Sidecar {
    /// Where the function expects the Runtime API.
    pub listener: TcpListener,
    /// The function's name.
    pub function: String,
    /// Invocations that the function may have in flight.
    pub concurrency: u32,
    /// Where its work comes from.
    pub queue: Queue,
    /// Who is told how it is.
    pub health: watch::Sender<Health>,
    /// Set while it asks for work.
    pub readiness: Readiness,
    /// Cancelled when the runner ends.
    pub stop: CancellationToken,
    /// How long an invocation may take.
    pub timeout: Duration,
}

impl Sidecar {
    /// Serves one process after the other; what is answered does so until told to stop.
    ///
    /// # Errors
    /// When `api` cannot listen.
    pub fn start(self, api: &ApiThread) -> io::Result<impl Future<Output = ()> + use<>> {
        let lanes: Vec<_> = (0..self.concurrency).map(|_| Lane::new(self.queue.clone(), &self.function)).collect();
        let slots = Arc::new(Slots { all: lanes.iter().map(|lane| lane.slot.clone()).collect() });
        let Self { listener, health, readiness, stop, timeout, .. } = self;
        let port = listener.local_addr()?.port();
        let server = api.serve(listener, slots)?;
        let mut watcher =
            Watcher { port, lanes, processes: Vec::new(), fewer: None, alone: 0, health, readiness, timeout };
        Ok(async move {
            tokio::select! {
                () = watcher.watch() => {}
                () = stop.cancelled() => watcher.end(None, &Failed::Stopping),
            }
            server.abort();
        })
    }
}

struct Watcher {
    /// Where the Runtime API is served.
    port: u16,
    lanes: Vec<Lane>,
    /// Those that are known and live.
    processes: Vec<Process>,
    /// Since when there are fewer of them than there were.
    fewer: Option<Instant>,
    /// How often a call was another one of those.
    alone: usize,
    health: watch::Sender<Health>,
    readiness: Readiness,
    timeout: Duration,
}

/// A slot, and whose it is.
struct Lane {
    slot: Arc<Slot>,
    seen: watch::Receiver<Progress>,
    /// Where the process was last looked for.
    caller: Option<SocketAddr>,
    pid: Option<i32>,
    /// When it was.
    looked: Instant,
    /// Since when it has said that it cannot start.
    refused: Option<Instant>,
}

impl Lane {
    fn new(queue: Queue, function: &str) -> Self {
        let (slot, seen) = Slot::new(queue, function);
        Self { slot, seen, caller: None, pid: None, looked: Instant::now(), refused: None }
    }

    /// Its invocation has failed, and it waits for the next process; answers why the last one could not start,
    /// where it said so.
    fn fail(&mut self, failed: Failed) -> Option<String> {
        let complaint = {
            let mut state = self.slot.state.lock();
            let complaint = match &*state {
                State::InitFailed(complaint) => Some(complaint.clone()),
                _ => None,
            };
            state.end(failed);
            *state = State::Initializing;
            complaint
        };
        self.slot.progress.send_modify(|progress| {
            progress.asked = false;
            progress.init_failed = false;
            progress.deadline = None;
            progress.caller = None;
            progress.retired = false;
        });
        (self.caller, self.pid, self.refused) = (None, None, None);
        complaint
    }
}

impl Watcher {
    /// Follows calls, time-outs and ends, for ever.
    async fn watch(&mut self) {
        loop {
            let progress: Vec<Progress> = self.lanes.iter_mut().map(|lane| *lane.seen.borrow_and_update()).collect();
            if progress.iter().any(|progress| progress.asked) && !self.readiness.get() {
                self.health.send_replace(Health::Ready);
                self.readiness.set(true);
            }
            for (place, progress) in progress.iter().enumerate() {
                self.learn(place, progress);
            }
            if self.lanes.iter().any(|lane| lane.refused.is_some() && lane.pid.is_none()) {
                self.refused_by_nobody();
                continue;
            }
            let late = progress.iter().filter_map(|progress| progress.deadline).min();
            let refused = self.lanes.iter().filter_map(|lane| lane.refused).min().map(|since| since + INIT_ERROR);
            let last = self.fewer.map(|since| since + REPLACED);
            if last.is_some_and(|last| last <= Instant::now()) {
                self.retire();
            }
            let last = last.filter(|last| *last > Instant::now());
            tokio::select! {
                () = changed(&mut self.lanes) => {}
                pid = ended(&self.processes) => self.lost(pid),
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => self.late(),
                () = sleep_until(refused.unwrap_or_else(Instant::now)), if refused.is_some() => self.end_refused(),
                () = sleep_until(last.unwrap_or_else(Instant::now)), if last.is_some() => {}
            }
        }
    }

    /// Whose a lane is, where its last call came from somewhere else than the one before, or from nobody known.
    fn learn(&mut self, place: usize, progress: &Progress) {
        let lane = &self.lanes[place];
        let is_new = |caller: &SocketAddr| lane.caller != Some(*caller);
        let is_due = lane.pid.is_none() && lane.looked.elapsed() > AGAIN;
        if let Some(caller) = progress.caller.filter(|caller| is_new(caller) || is_due) {
            let known = self.lanes.iter().find(|lane| lane.caller == Some(caller)).and_then(|lane| lane.pid);
            // One that has begun work says no more that it cannot: who does may be any but those that are known.
            let pid = known.or_else(|| self.find(caller, !progress.init_failed));
            let lane = &mut self.lanes[place];
            (lane.caller, lane.pid, lane.looked) = (Some(caller), pid, Instant::now());
        }
        if progress.init_failed {
            self.lanes[place].refused.get_or_insert_with(Instant::now);
        }
    }

    /// Who called from there. Clients that close connections have called from somewhere else each time, and
    /// may be gone from there: where nobody else has been found for long, the one process is not looked for again.
    fn find(&mut self, caller: SocketAddr, may_be_gone: bool) -> Option<i32> {
        let only = match &self.processes[..] {
            [only] if may_be_gone => Some(only.pid),
            _ => None,
        };
        if only.is_some() && self.alone >= ALONE * self.lanes.len() {
            return only;
        }
        let error = match Process::calling(self.port, caller) {
            Ok(Some(process)) => {
                let pid = process.pid;
                if self.processes.iter().any(|known| known.pid == pid) {
                    self.alone += 1;
                } else {
                    info!(pid, "function process connected");
                    self.processes.push(process);
                    (self.alone, self.fewer) = (0, None);
                }
                return Some(pid);
            }
            Ok(None) if only.is_some() => return only,
            Ok(None) => "nobody holds the connection".to_owned(),
            Err(error) => error.to_string(),
        };
        warn!(%caller, error, "the function's process is not known: a late one cannot be killed");
        None
    }

    /// A process that is not known has said that it cannot start: it has ended since, as clients do.
    fn refused_by_nobody(&mut self) {
        if self.processes.is_empty() {
            return self.end(None, &Failed::Crash("the function could not start".to_owned()));
        }
        for lane in self.lanes.iter_mut().filter(|lane| lane.refused.is_some() && lane.pid.is_none()) {
            let complaint = lane.fail(Failed::Crash("a process of the function could not start".to_owned()));
            warn!(reason = complaint.unwrap_or_default(), "one of the function's processes could not start");
            metrics::counter!("tidemill_runner_init_failures_total").increment(1);
        }
    }

    fn lost(&mut self, pid: i32) {
        self.processes.retain(|process| process.pid != pid);
        self.alone = 0;
        let left = self.processes.len();
        if left == 0 {
            warn!(pid, "function process ended");
            self.end(None, &Failed::Crash("its container ended".to_owned()));
        } else {
            warn!(pid, left, "one of the function's processes ended");
            self.end(Some(pid), &Failed::Crash(format!("one of {} processes ended", left + 1)));
            self.fewer = Some(Instant::now());
        }
    }

    /// Invocations have taken too long: their processes are killed, and the kubelet starts them again.
    fn late(&mut self) {
        let now = Instant::now();
        let is_late = |lane: &&mut Lane| lane.slot.progress.borrow().deadline.is_some_and(|deadline| deadline <= now);
        let mut pids = BTreeSet::new();
        for place in 0..self.lanes.len() {
            // Whoever could not be found when it called may be found now, with the call still open.
            let unknown = is_late(&&mut self.lanes[place]) && self.lanes[place].pid.is_none();
            if let Some(caller) = self.lanes[place].caller.filter(|_| unknown) {
                self.lanes[place].pid = self.find(caller, true);
            }
        }
        for lane in self.lanes.iter_mut().filter(is_late) {
            metrics::counter!("tidemill_runner_timeouts_total").increment(1);
            pids.extend(lane.pid);
            lane.fail(Failed::Timeout(self.timeout));
        }
        for pid in pids {
            warn!(pid, timeout = ?self.timeout, "function process killed: no answer in time");
            self.kill(pid);
        }
    }

    /// Who cannot start and does not end is ended.
    fn end_refused(&mut self) {
        let is_refused = |lane: &&Lane| lane.refused.is_some_and(|since| since.elapsed() >= INIT_ERROR);
        let pids: BTreeSet<_> = self.lanes.iter().filter(is_refused).filter_map(|lane| lane.pid).collect();
        // Where that fails it is tried again as much later, and not at once for ever.
        self.lanes.iter_mut().for_each(|lane| lane.refused = None);
        for pid in pids {
            warn!(pid, "function process killed: it could not start, and has not ended");
            self.kill(pid);
        }
    }

    /// Processes get no more work, and are ended once they have none.
    fn retire(&mut self) {
        let busy: BTreeSet<_> = self.lanes.iter().filter(|lane| !lane.slot.retire()).map(|lane| lane.pid).collect();
        let idle: Vec<_> =
            self.processes.iter().map(|process| process.pid).filter(|pid| !busy.contains(&Some(*pid))).collect();
        for pid in idle {
            info!(pid, "function process ended: another of its container has, and none came in its place");
            self.kill(pid);
        }
    }

    fn kill(&mut self, pid: i32) {
        // However it ends, it is lost then.
        let Some(process) = self.processes.iter().find(|process| process.pid == pid) else { return };
        if let Err(error) = process.kill() {
            warn!(pid, %error, "a function process could not be killed");
        }
    }

    /// What a process, or each, had in flight has failed, and its lanes wait for the next process.
    fn end(&mut self, pid: Option<i32>, failed: &Failed) {
        let theirs = self.lanes.iter_mut().filter(|lane| pid.is_none() || lane.pid == pid);
        let complaints: Vec<_> = theirs.filter_map(|lane| lane.fail(failed.clone())).collect();
        if pid.is_none() {
            self.readiness.set(false);
            self.fewer = None;
            self.health.send_replace(Health::Starting);
        }
        if let Some(complaint) = complaints.into_iter().next() {
            metrics::counter!("tidemill_runner_init_failures_total").increment(1);
            let reason = format!("the function reported an init error: {complaint}");
            warn!(reason, "function process failed to start");
            // What others can do, the function can.
            if self.processes.is_empty() {
                self.health.send_replace(Health::Failing(reason));
            }
        }
    }
}

/// Returns once one of the lanes has changed.
async fn changed(lanes: &mut [Lane]) {
    drop(select_all(lanes.iter_mut().map(|lane| Box::pin(lane.seen.changed()))).await);
}

/// Which of them has ended.
async fn ended(processes: &[Process]) -> i32 {
    if processes.is_empty() {
        return std::future::pending().await;
    }
    let (pid, ..) = select_all(processes.iter().map(|process| {
        Box::pin(async {
            process.ended().await;
            process.pid
        })
    }))
    .await;
    pid
}
