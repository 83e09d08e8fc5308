//! A function in a container of its own beside the runner: its process is started and started
//! again by the kubelet, and known here by the connections it makes.
//!
//! The pod's containers share their processes and their user, so that the caller's pid can be
//! learned from its socket: its end fails what was in flight, and it is killed when it takes too
//! long. Where the pid can't be learned, an invocation that takes too long is given up on.

use crate::{
    api_thread::ApiThread,
    invocation::{Failed, State},
    pool::{Health, Queue},
    runtime_api::{Progress, Slot, Slots},
};
use procfs::process::FDTarget;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};
use tidemill_service::admin::Readiness;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpListener,
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

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
        let (slots, changes): (Vec<_>, Vec<_>) =
            (0..self.concurrency).map(|_| Slot::new(self.queue.clone(), &self.function)).unzip();
        let (sender, callers) = watch::channel(None);
        let slots = Arc::new(Slots { all: slots, caller: sender });
        let Self { listener, health, readiness, stop, timeout, .. } = self;
        let server = api.serve(listener, slots.clone())?;
        let lanes = slots.all.iter().cloned().zip(changes).collect();
        let mut watcher = Watcher { lanes, callers, process: None, health, readiness, timeout };
        Ok(async move {
            tokio::select! {
                () = watcher.watch() => {}
                () = stop.cancelled() => watcher.end(&Failed::Stopping),
            }
            server.abort();
        })
    }
}

struct Watcher {
    lanes: Vec<(Arc<Slot>, watch::Receiver<Progress>)>,
    callers: watch::Receiver<Option<SocketAddr>>,
    process: Option<Process>,
    health: watch::Sender<Health>,
    readiness: Readiness,
    timeout: Duration,
}

/// The function's process while it lives.
struct Process {
    pid: i32,
    handle: AsyncFd<OwnedFd>,
}

impl Watcher {
    /// Follows calls, time-outs and ends, for ever.
    async fn watch(&mut self) {
        loop {
            let progress: Vec<Progress> = self.lanes.iter_mut().map(|(_, seen)| *seen.borrow_and_update()).collect();
            if progress.iter().any(|progress| progress.asked) && !self.readiness.get() {
                self.health.send_replace(Health::Ready);
                self.readiness.set(true);
            }
            if self.process.is_none() && progress.iter().any(|progress| progress.init_failed) {
                self.end(&Failed::Crash("the function could not start".to_owned()));
                continue;
            }
            let deadline = progress.iter().filter_map(|progress| progress.deadline).min();
            tokio::select! {
                () = changed(&mut self.lanes) => {}
                changed = self.callers.changed() => {
                    debug_assert!(changed.is_ok(), "the slots hold the sender");
                    self.learn_process();
                }
                () = ended(self.process.as_ref()) => {
                    warn!(pid = self.process.as_ref().map(|process| process.pid), "function process ended");
                    self.process = None;
                    self.end(&Failed::Crash("its container ended".to_owned()));
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.late(),
            }
        }
    }

    fn learn_process(&mut self) {
        let Some(caller) = *self.callers.borrow_and_update() else { return };
        if self.process.is_some() {
            return; // Another connection of the process that is known: it still lives.
        }
        match process_of(caller) {
            Ok(Some(process)) => {
                info!(pid = process.pid, "function process connected");
                self.process = Some(process);
            }
            Ok(None) => warn!(%caller, "the function's process is not known: a late one cannot be killed"),
            Err(error) => warn!(%error, "the function's process is not known: a late one cannot be killed"),
        }
    }

    /// An invocation has taken too long: its process is killed, and the kubelet starts it again.
    fn late(&mut self) {
        metrics::counter!("tidemill_runner_timeouts_total").increment(1);
        let now = Instant::now();
        for (slot, _) in &self.lanes {
            if slot.progress.borrow().deadline.is_some_and(|deadline| deadline <= now) {
                fail(slot, Failed::Timeout(self.timeout));
            }
        }
        if let Some(process) = &self.process {
            warn!(pid = process.pid, timeout = ?self.timeout, "function process killed: no answer in time");
            // By its handle: the number may be another process's by now.
            if let Err(error) = pidfd_send_signal(process.handle.get_ref(), Signal::KILL) {
                warn!(pid = process.pid, %error, "a late function process could not be killed");
                self.process = None;
            }
        }
    }

    /// What was in flight has failed, and the slots wait for the next process.
    fn end(&mut self, failed: &Failed) {
        self.readiness.set(false);
        let complaint = self.lanes.iter().find_map(|(slot, _)| match &*slot.state.lock() {
            State::InitFailed(complaint) => Some(complaint.clone()),
            _ => None,
        });
        for (slot, _) in &self.lanes {
            fail(slot, failed.clone());
        }
        self.health.send_replace(complaint.map_or(Health::Starting, |complaint| {
            metrics::counter!("tidemill_runner_init_failures_total").increment(1);
            Health::Failing(format!("the function reported an init error: {complaint}"))
        }));
    }
}

/// The slot's invocation has failed; the slot is as if its process had just been started.
fn fail(slot: &Slot, failed: Failed) {
    {
        let mut state = slot.state.lock();
        state.end(failed);
        *state = State::Initializing;
    }
    slot.progress.send_modify(|progress| {
        progress.asked = false;
        progress.init_failed = false;
        progress.deadline = None;
    });
}

/// Returns once one of the lanes has changed.
async fn changed(lanes: &mut [(Arc<Slot>, watch::Receiver<Progress>)]) {
    let changes = lanes.iter_mut().map(|(_, seen)| Box::pin(seen.changed()));
    drop(futures::future::select_all(changes).await);
}

async fn ended(process: Option<&Process>) {
    match process {
        // Readable once the process has ended; it stays so.
        Some(process) => drop(process.handle.ready(Interest::READABLE).await),
        None => std::future::pending().await,
    }
}

/// The process at the other end of a connection, by the socket that it holds.
fn process_of(caller: SocketAddr) -> io::Result<Option<Process>> {
    let other = |error: procfs::ProcError| io::Error::other(error);
    let connections = procfs::net::tcp().map_err(other)?.into_iter().chain(procfs::net::tcp6().map_err(other)?);
    let same = |address: SocketAddr| address.port() == caller.port() && address.ip().to_canonical() == caller.ip();
    let Some(socket) = connections.into_iter().find(|entry| same(entry.local_address)) else { return Ok(None) };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    for process in procfs::process::all_processes().map_err(other)?.flatten().filter(|process| process.pid != own) {
        let Ok(open) = process.fd() else { continue }; // Another user's, or gone meanwhile.
        if open.flatten().any(|file| matches!(file.target, FDTarget::Socket(inode) if inode == socket.inode)) {
            let pid = rustix::process::Pid::from_raw(process.pid)
                .ok_or_else(|| io::Error::other("a process has the pid 0"))?;
            let handle = watched(pidfd_open(pid, PidfdFlags::empty())?)?;
            return Ok(Some(Process { pid: process.pid, handle }));
        }
    }
    Ok(None)
}

#[expect(deprecated, reason = "an OwnedFd stays open for as long as it is owned; the other call is unsafe")]
fn watched(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}
