//! Membership in the consumer group: which partitions are ours, and what happens when they come
//! and go.
//!
//! A partition's queue is split off before it is assigned, so that no record takes another way.
//! A revoked partition is drained first: its task ends what it has begun, the stored offset is
//! committed, and only then is it given back. The other partitions go on meanwhile.

use crate::{
    ahead::Ahead,
    beginning,
    commits::{Commits, Committer},
    membership::{self, Protocol},
    output::Sink,
    partition::Partition,
    pipeline::Pipeline,
};
use futures::FutureExt;
use parking_lot::Mutex;
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as KafkaConsumer, ConsumerContext, Rebalance, StreamConsumer},
    error::KafkaError,
};
use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tidemill_api::{Start, plan::KafkaPlan};
use tidemill_kafka::{Begin, Connection, DELIVERY_TIMEOUT, PartitionQueue, begin_group};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// A group member.
pub type Consumer = StreamConsumer<Context>;
/// The records of one partition.
pub type Queue = PartitionQueue<Context>;

/// How long a partition may take to drain, beside an invocation, until it sends nothing more.
const DRAIN: Duration = Duration::from_secs(5);
/// How long what it has sent may be on its way: a partition that moved before that would have it come
/// out behind what its next owner does. librdkafka looks once a second for what has taken too long.
const UNDERWAY: Duration = DELIVERY_TIMEOUT.saturating_add(Duration::from_secs(2));

/// The longest that it takes to give back partitions of a function with that time-out.
#[must_use]
pub fn longest_drain(timeout: Duration) -> Duration {
    timeout + DRAIN + UNDERWAY
}

/// What the consumer's callbacks act on.
pub struct Context {
    own: OnceLock<Weak<Consumer>>,
    runtime: Handle,
    start: Box<dyn Fn(Assigned) -> JoinHandle<()> + Send + Sync>,
    tasks: Mutex<HashMap<(String, i32), Task>>,
    /// How many of those that were taken from them drain.
    draining: AtomicUsize,
    /// Cancelled when what is being assigned is librdkafka's to read, too; there is another for the next time.
    begun: Mutex<CancellationToken>,
    /// The function's own.
    timeout: Duration,
    /// Cancelled when the broker does not know the protocol.
    unknown: CancellationToken,
    /// How commits go.
    pub(crate) commits: Commits,
}

/// A partition that was assigned.
struct Assigned {
    topic: Arc<str>,
    number: i32,
    queue: Queue,
    consumer: Arc<Consumer>,
    begun: CancellationToken,
    stop: CancellationToken,
    late: CancellationToken,
}

struct Task {
    stop: CancellationToken,
    late: CancellationToken,
    done: JoinHandle<()>,
}

/// Joins the group once it may and works until `stop`; then drains, commits and leaves.
///
/// `failed` is cancelled from within when the process must start again.
///
/// # Errors
/// When the consumer cannot be made, or a starting position cannot be set.
pub async fn run<S: Sink>(
    connection: &Connection,
    plan: &KafkaPlan,
    pipeline: Arc<Pipeline<S>>,
    may_join: CancellationToken,
    stop: CancellationToken,
    failed: CancellationToken,
) -> Result<(), tidemill_kafka::Error> {
    let mut protocol = Protocol::Consumer;
    loop {
        let unknown = session(connection, plan, &pipeline, protocol, &may_join, &stop, &failed).await?;
        if !unknown || stop.is_cancelled() {
            return Ok(());
        }
        info!("the broker does not know KIP-848: cooperative-sticky it is");
        protocol = Protocol::Classic;
    }
}

/// One membership, from joining to leaving; answers whether the broker does not know the protocol.
async fn session<S: Sink>(
    connection: &Connection,
    plan: &KafkaPlan,
    pipeline: &Arc<Pipeline<S>>,
    protocol: Protocol,
    may_join: &CancellationToken,
    stop: &CancellationToken,
    failed: &CancellationToken,
) -> Result<bool, tidemill_kafka::Error> {
    let context = Context::new(connection, plan, pipeline.clone(), failed.clone());
    let refused = |source| tidemill_kafka::Error::Client { bootstrap: connection.bootstrap().to_owned(), source };
    let config = membership::config(connection, plan, longest_drain(context.timeout), protocol);
    let consumer: Consumer = config.create_with_context(context).map_err(refused)?;
    let consumer = Arc::new(consumer);
    consumer.context().own.get_or_init(|| Arc::downgrade(&consumer));
    // The client finds its coordinator meanwhile.
    tokio::select! {
        () = may_join.cancelled() => {}
        () = stop.cancelled() => return Ok(false),
        () = failed.cancelled() => return Ok(false),
    }
    let topics: Vec<&str> = plan.topics.iter().map(String::as_str).collect();
    if protocol == Protocol::Consumer {
        membership::know(&consumer, &plan.topics, stop).await;
    }
    consumer.subscribe(&topics).map_err(refused)?;
    info!(group = plan.group, topics = ?plan.topics, ?protocol, "joined the consumer group");

    let ending = stop.child_token();
    if protocol == Protocol::Consumer {
        let member = Arc::downgrade(&consumer);
        tokio::spawn(membership::heartbeat(member, plan.topics.clone(), ending.clone()));
    }
    // In transactions offsets go with the effects.
    let committer = (!pipeline.plan.exactly_once()).then(|| Committer::start(&consumer));
    // Callbacks run on the thread that polls, and wait there for partitions to drain: a thread
    // of its own, so that no work shares it.
    let (polled, poll_ending) = (consumer.clone(), ending.clone());
    let poller = std::thread::Builder::new()
        .name("kafka-poll".to_owned())
        .spawn(move || {
            // However it ends.
            let ending = poll_ending.clone().drop_guard();
            let unknown = futures::executor::block_on(poll(&polled, &poll_ending));
            drop(ending);
            unknown
        })
        .expect("a thread can be started");
    tokio::select! {
        () = ending.cancelled() => {}
        () = failed.cancelled() => {}
    }
    ending.cancel();
    // The last handle is dropped there too: closing runs callbacks, and waits in them.
    let left = tokio::task::spawn_blocking(move || {
        let unknown = poller.join().unwrap_or_else(|_| {
            error!("the polling thread has panicked");
            false
        });
        let context = consumer.context();
        context.drain_all();
        if let Some(committer) = committer {
            committer.end();
        }
        context.commits.commit_surely(&*consumer);
        consumer.unsubscribe();
        // A call that nobody waits for any more may have a handle still.
        let patience = Instant::now() + beginning::PATIENCE + Duration::from_secs(1);
        while Arc::strong_count(&consumer) > 1 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(consumer);
        unknown
    });
    let unknown = left.await.unwrap_or_else(|_| {
        error!("leaving the group has panicked");
        false
    });
    info!("left the consumer group");
    Ok(unknown)
}

/// Serves callbacks until `stop`; answers whether the broker does not know the protocol. All
/// records take their partitions' queues.
async fn poll(consumer: &Consumer, stop: &CancellationToken) -> bool {
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return false,
            () = consumer.context().unknown.cancelled() => return true,
            received = consumer.recv() => received,
        };
        match received {
            Ok(message) => {
                error!(
                    offset = rdkafka::Message::offset(&message),
                    "a record came by the wrong way and will be read again"
                );
            }
            Err(error) if membership::is_unknown(&error) => return true,
            Err(error) => match consumer.client().fatal_error() {
                Some((code, _)) if membership::is_unknown_by(code) => return true,
                // librdkafka has given up its membership, and tells of no partition any more.
                Some((code, reason)) => {
                    error!(%code, reason, "the group does not take this member: the runner must start again");
                    consumer.context().commits.fail();
                    return false;
                }
                None => warn!(%error, "consumer"),
            },
        }
    }
}

/// Commits where the group begins. For whoever starts runners, before the first one: a runner that
/// did so itself would skip the records that it was woken for.
///
/// # Errors
/// When a broker does not answer.
pub async fn begin(connection: &Connection, plan: &KafkaPlan) -> Result<(), tidemill_kafka::Error> {
    let begin = match &plan.start {
        Start::Earliest => return Ok(()),
        Start::Latest => Begin::Now,
        Start::Timestamp(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(time) => Begin::At(time.timestamp_millis()),
            Err(_) => return Ok(()), // Refused before: it never comes here.
        },
    };
    let (connection, plan) = (connection.clone(), plan.clone());
    let begun = tokio::task::spawn_blocking(move || begin_group(&connection, &plan.group, &plan.topics, begin));
    begun.await.expect("asking does not panic")
}

impl Context {
    fn new<S: Sink>(
        connection: &Connection,
        plan: &KafkaPlan,
        pipeline: Arc<Pipeline<S>>,
        failed: CancellationToken,
    ) -> Self {
        let plan = Arc::new(plan.clone());
        let transactional = pipeline.plan.exactly_once().then(|| connection.clone());
        let (timeout, ahead) = (pipeline.plan.timeout, Arc::new(Ahead::default()));
        let ending = failed.clone();
        let start = move |assigned| {
            let Assigned { topic, number, queue, consumer, begun, stop, late } = assigned;
            let (pipeline, plan, failed) = (pipeline.clone(), plan.clone(), failed.clone());
            let (panicked, transactional, ahead) = (failed.clone(), transactional.clone(), ahead.clone());
            let work = Partition {
                topic,
                number,
                queue,
                consumer,
                pipeline,
                plan,
                ahead,
                transactional,
                begun,
                stop,
                late,
                failed,
            };
            let work = work.run();
            tokio::spawn(async move {
                // Nobody else would hear of it, and the partition would stand still.
                if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                    error!(partition = number, "a partition's task has panicked: the runner must start again");
                    panicked.cancel();
                }
            })
        };
        Self {
            own: OnceLock::new(),
            runtime: Handle::current(),
            tasks: Mutex::default(),
            draining: AtomicUsize::new(0),
            begun: Mutex::default(),
            timeout,
            unknown: CancellationToken::new(),
            commits: Commits::new(ending),
            start: Box::new(start),
        }
    }

    /// How many partitions it has.
    pub fn owned(&self) -> usize {
        self.tasks.lock().len()
    }

    /// Whether there may be something to commit: partitions, or those that drain.
    pub fn has_work(&self) -> bool {
        // Under the lock they go from one to the other.
        let tasks = self.tasks.lock();
        !tasks.is_empty() || self.draining.load(Ordering::Relaxed) > 0
    }

    /// Ends the tasks of these partitions and waits until they have.
    fn drain(&self, partitions: &[(String, i32)]) {
        let tasks: Vec<Task> = {
            let mut all = self.tasks.lock();
            let tasks: Vec<_> = partitions.iter().filter_map(|partition| all.remove(partition)).collect();
            self.draining.fetch_add(tasks.len(), Ordering::Relaxed);
            tasks
        };
        let count = tasks.len();
        for task in &tasks {
            task.stop.cancel();
        }
        let begun = tokio::time::Instant::now();
        let all_late: Vec<_> = tasks.iter().map(|task| task.late.clone()).collect();
        let late = async {
            sleep_until(begun + self.timeout + DRAIN).await;
            all_late.iter().for_each(CancellationToken::cancel);
            std::future::pending().await
        };
        let drained = async {
            let deadline = begun + longest_drain(self.timeout);
            for mut task in tasks {
                if tokio::time::timeout_at(deadline, &mut task.done).await.is_err() {
                    warn!("a partition did not drain in time; its batch will be repeated");
                    // It must not store an offset after the partition has come back.
                    task.done.abort();
                }
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                () = drained => {}
                () = late => {}
            }
        });
        self.draining.fetch_sub(count, Ordering::Relaxed);
    }

    fn drain_all(&self) {
        let partitions: Vec<_> = self.tasks.lock().keys().cloned().collect();
        self.drain(&partitions);
    }
}

fn names(partitions: &TopicPartitionList) -> Vec<(String, i32)> {
    partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if membership::says_unknown(message) {
            self.unknown.cancel();
        }
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info => debug!(facility, "{message}"),
            _ => warn!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "Kafka client");
        if membership::says_unread(reason) {
            error!("partitions that are assigned would never be read: the runner must start again");
            self.commits.fail();
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, base: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.commits.rebalances(true);
        match rebalance {
            Rebalance::Assign(partitions) => {
                let Some(consumer) = self.own.get().and_then(Weak::upgrade) else { return };
                let assigned = names(partitions);
                info!(partitions = ?assigned, "assigned");
                for (topic, number) in assigned {
                    let Some(queue) = Queue::split(&consumer, &topic, number) else {
                        error!(topic, partition = number, "the partition has no queue");
                        continue;
                    };
                    let (stop, late) = <(CancellationToken, CancellationToken)>::default();
                    let begun = self.begun.lock().clone();
                    let _entered = self.runtime.enter();
                    let (name, owner) = (topic.clone(), consumer.clone());
                    let (stops, lates) = (stop.clone(), late.clone());
                    let done = (self.start)(Assigned {
                        topic: name.into(),
                        number,
                        queue,
                        consumer: owner,
                        begun,
                        stop: stops,
                        late: lates,
                    });
                    self.tasks.lock().insert((topic, number), Task { stop, late, done });
                }
                metrics::gauge!("tidemill_runner_partitions").set(self.tasks.lock().len() as f64);
            }
            Rebalance::Revoke(partitions) => {
                let revoked = names(partitions);
                info!(partitions = ?revoked, lost = base.assignment_lost(), "revoked");
                metrics::counter!("tidemill_runner_rebalances_total").increment(1);
                self.drain(&revoked);
                if !base.assignment_lost() && !revoked.is_empty() {
                    self.commits.commit_surely(base);
                }
                metrics::gauge!("tidemill_runner_partitions").set(self.tasks.lock().len() as f64);
            }
            Rebalance::Error(error) => error!(%error, "rebalance"),
        }
    }

    fn post_rebalance(&self, _base: &BaseConsumer<Self>, _rebalance: &Rebalance<'_>) {
        std::mem::take(&mut *self.begun.lock()).cancel();
        self.commits.rebalances(false);
    }
}
