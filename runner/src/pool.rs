//! The function's processes and the queue of work before them.
//!
//! A job that entered the queue gets exactly one outcome, or its sender is dropped because no process
//! has had it: then it enters the queue again, unless the pool has ended.

use crate::{
    api_thread::ApiThread,
    health::{Health, Vitals},
    invocation::{Failed, Outcome},
    process::{self, Bootstrap},
    sidecar::Sidecar,
};
use bytes::Bytes;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_service::admin::Readiness;
use tokio::{
    net::TcpListener,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Events that wait beside one for each process that could be free next: whoever makes the next one may wait for a
/// core longer than the function works.
const SPARE: usize = 3;
/// The most bytes that wait for each process, beside an event that is larger.
const ROOM: u32 = 2 << 20;

/// One invocation to make.
pub struct Job {
    /// The request id.
    pub id: String,
    /// The event.
    pub payload: Bytes,
    /// How long it may take.
    pub timeout: Duration,
    /// Who waits for the outcome.
    pub outcome: oneshot::Sender<(Outcome, Duration)>,
}

/// A job that waits for a process, and what it takes up meanwhile.
struct Waiting {
    job: Job,
    claim: Claim,
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    room: OwnedSemaphorePermit,
}

/// Decides between the process that takes a job and the one who takes it back: one of them wins.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn wins(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Where processes take their work from: each job goes to one of them.
#[derive(Clone)]
pub struct Queue(Arc<Mutex<mpsc::Receiver<Waiting>>>);

impl Queue {
    /// The next job; `None` when there will be none.
    ///
    /// Dropping the future takes no job with it.
    pub async fn take(&self) -> Option<Job> {
        loop {
            let waiting = self.0.lock().await.recv().await?;
            if waiting.claim.wins() {
                return Some(waiting.job);
            }
        }
    }
}

/// The function's processes.
pub struct Pool {
    jobs: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    timeout: Duration,
    health: watch::Receiver<Health>,
    stop: CancellationToken,
    slots: Mutex<JoinSet<()>>,
    /// Kept for as long as processes may call.
    _api: Arc<ApiThread>,
}

/// Where the processes come from.
pub enum Source {
    /// The runner starts them.
    Program(Bootstrap),
    /// Others start one, which calls the Runtime API here.
    Image {
        /// Where the Runtime API is served.
        listener: TcpListener,
        /// The function's name.
        function: String,
    },
}

impl Pool {
    /// Has `concurrency` invocations in flight at most, until [`Pool::stop`].
    ///
    /// # Errors
    /// When nothing can answer the processes.
    pub fn start(source: Source, concurrency: u32, timeout: Duration, readiness: &Readiness) -> io::Result<Self> {
        let api = Arc::new(ApiThread::start()?);
        let processes = concurrency.max(1) as usize;
        let (jobs, receiver) = mpsc::channel(processes + SPARE);
        let room = Arc::new(Semaphore::new(processes * ROOM as usize));
        let queue = Queue(Arc::new(Mutex::new(receiver)));
        let stop = CancellationToken::new();
        let (health_sender, health) = watch::channel(Health::Starting);
        let mut slots = JoinSet::new();
        match source {
            Source::Program(bootstrap) => {
                let bootstrap = Arc::new(bootstrap);
                let vitals = Arc::new(Vitals::new(health_sender, readiness.clone()));
                for _ in 0..concurrency {
                    let supervisor = process::Supervisor {
                        bootstrap: bootstrap.clone(),
                        api: api.clone(),
                        queue: queue.clone(),
                        vitals: vitals.clone(),
                        stop: stop.clone(),
                        timeout,
                    };
                    slots.spawn(supervisor.run());
                }
            }
            Source::Image { listener, function } => {
                let sidecar = Sidecar {
                    listener,
                    function,
                    concurrency,
                    queue,
                    health: health_sender,
                    readiness: readiness.clone(),
                    stop: stop.clone(),
                    timeout,
                };
                slots.spawn(sidecar.start(&api)?);
            }
        }
        Ok(Self { jobs, room, timeout, health, stop, slots: Mutex::new(slots), _api: api })
    }

    /// Makes one invocation; answers the outcome and how long the function worked.
    ///
    /// Waits for a process to be free, however long that takes; the time-out counts from then. The event
    /// of about `size` bytes is made when few others are before it, so that not each of many who wait keeps one.
    /// `stop` ends the waiting, also of a job that is in the queue, and not the work.
    pub async fn invoke(
        &self,
        id: String,
        size: usize,
        event: impl FnOnce() -> Bytes,
        stop: &CancellationToken,
    ) -> (Outcome, Duration) {
        let stopping = || (Err(Failed::Stopping), Duration::ZERO);
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(ROOM);
        let (mut event, mut made) = (Some(event), Bytes::new());
        loop {
            let place = async {
                let room = self.room.clone().acquire_many_owned(size).await.ok()?;
                Some((room, self.jobs.reserve().await.ok()?))
            };
            let place = tokio::select! {
                biased;
                () = stop.cancelled() => return stopping(),
                place = place => place,
            };
            let Some((room, place)) = place else { return stopping() };
            if let Some(event) = event.take() {
                made = event();
            }
            let (outcome, mut answer) = oneshot::channel();
            let claim = Claim::default();
            let job = Job { id: id.clone(), payload: made.clone(), timeout: self.timeout, outcome };
            place.send(Waiting { job, claim: claim.clone(), room });
            let had = tokio::select! {
                biased;
                answer = &mut answer => answer,
                () = stop.cancelled() => if claim.wins() { return stopping() } else { answer.await },
            };
            match had {
                Ok(answer) => return answer,
                Err(_nobody) => debug!(request_id = id, "no process has had the invocation: it waits again"),
            }
        }
    }

    /// How the processes are, as it changes.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Ends the processes: SIGTERM, then SIGKILL.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut slots = self.slots.lock().await;
        while slots.join_next().await.is_some() {}
    }
}
