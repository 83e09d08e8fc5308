//! One task for each assigned partition: read, hand out batches, store the offset of what is done.
//!
//! The offset that is stored is the [`Watermark`]: all up to it has a durable outcome. librdkafka
//! commits stored offsets only. Records that were read and are not done are read again by the next
//! owner.

use crate::{
    ahead::{Ahead, Reach},
    beginning::Beginning,
    consumer::{Consumer, Queue},
    entry::{self, Entry},
    lanes::{Amount, Lanes, Ticket},
    output::Sink,
    pipeline::{Pipeline, Unsettled},
    record::Source,
    resting::Resting,
    retry,
    shared::Gathering,
    stats::{Counted, Tally},
    transactions::Transactions,
    turn::{Before, Turn},
    watermark::Watermark,
};
use rdkafka::{consumer::Consumer as _, error::KafkaError, message::BorrowedMessage};
use std::{panic::resume_unwind, sync::Arc, time::Duration};
use tidemill_api::{Ordering, plan::KafkaPlan};
use tidemill_kafka::Connection;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Between two attempts to read from a partition that gives an error.
const PAUSE: Duration = Duration::from_millis(100);
/// Every so many of them is logged.
const TOLD: u32 = 100;
/// Records taken in before anything else is looked at.
const AT_ONCE: usize = 1_000;
/// Batches that may wait for a schema registry beside those in work.
const RESTING: usize = 64;
/// How often is looked whether a partition is held up.
const LOOK: Duration = Duration::from_secs(5);
/// How long, beside the function's time-out, a record may be in work until it is said.
const HELD: Duration = Duration::from_secs(10);

/// The task of one partition.
pub struct Partition<S> {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub number: i32,
    /// Its records.
    pub queue: Queue,
    /// What stores its offsets.
    pub consumer: Arc<Consumer>,
    /// What settles its batches.
    pub pipeline: Arc<Pipeline<S>>,
    /// How its records are worked on.
    pub plan: Arc<KafkaPlan>,
    /// What waits in all partitions.
    pub ahead: Arc<Ahead>,
    /// The cluster, where effects and offsets are one transaction.
    pub transactional: Option<Connection>,
    /// Cancelled when the assignment is made.
    pub begun: CancellationToken,
    /// Cancelled when it should finish what it has begun, and end.
    pub stop: CancellationToken,
    /// Cancelled when nothing more may be sent.
    pub late: CancellationToken,
    /// Cancelled here when the whole runner must start again.
    pub failed: CancellationToken,
}

/// What is not in work any more: its offsets, and what of it rests before another attempt.
type Done = (Ticket, Vec<i64>, Result<Vec<retry::Again>, Unsettled>);

/// How far a partition is.
struct Work {
    lanes: Lanes,
    watermark: Watermark,
    /// Batches in work: how each ended.
    batches: JoinSet<Done>,
    /// How many of them rest, and keep their place meanwhile.
    resting: watch::Sender<usize>,
    /// The last of them, where the next one follows it.
    before: Option<Before>,
    /// What is left of others, and rests.
    again: Resting,
    /// Since when a batch is collected.
    since: Option<Instant>,
    /// When the watermark last moved, or there was nothing to do.
    moved: Instant,
    /// Up to where transactions have committed.
    committed: Option<i64>,
    /// A record that came although it, or one behind it, had been read before.
    rewound: Option<i64>,
    /// What others have to know of it, where they share invocations.
    gathering: Option<Gathering>,
}

impl<S: Sink> Partition<S> {
    /// Works until told to stop.
    pub async fn run(self) {
        let transactions = match &self.transactional {
            None => None,
            Some(connection) => {
                let consumer = self.consumer.clone();
                let group = &self.plan.group;
                match Transactions::open(connection, group, &self.topic, self.number, consumer, &self.stop).await {
                    Ok(transactions) => Some(Arc::new(transactions)),
                    Err(unsettled) => return self.end(&unsettled),
                }
            }
        };
        // After that: whoever had the partition before can commit nothing more.
        tokio::select! {
            () = self.begun.cancelled() => {}
            () = self.stop.cancelled() => return,
        }
        let beginning = Beginning::ask(&self.consumer, &self.topic, self.number, &self.stop).await;
        let Ok(mut beginning) = beginning else { return };
        // In a transaction there is one batch at a time; that is in order whatever was asked for.
        let ordering = if transactions.is_some() { Ordering::Partition } else { self.plan.ordering };
        let mut work = Work {
            lanes: Lanes::new(ordering),
            watermark: Watermark::default(),
            batches: JoinSet::new(),
            resting: watch::Sender::new(0),
            before: None,
            again: Resting::default(),
            since: None,
            moved: Instant::now(),
            committed: None,
            rewound: None,
            gathering: self.pipeline.shared.clone().map(Gathering::new),
        };
        // One batch more than there are invocations: its outputs are acknowledged meanwhile.
        let abreast = match ordering {
            Ordering::Partition if transactions.is_some() || self.pipeline.plan.output.is_none() => 1,
            Ordering::Partition => 2,
            Ordering::Key | Ordering::None => self.pipeline.plan.concurrency as usize + 1,
        };
        let mut reach = Reach::new(self.ahead.clone(), &self.plan.batch, ordering, abreast);
        let mut resting = work.resting.subscribe();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let rest = if ordering == Ordering::Partition { 0 } else { *resting.borrow_and_update() };
            let busy = |work: &Work| work.batches.len().saturating_sub(rest);
            let free = |work: &Work| busy(work) < abreast && work.batches.len() < abreast + RESTING;
            // What has rested has a place of its own: it is little, and others wait for it.
            let free_again = |work: &Work| busy(work) <= abreast;
            while free_again(&work) && self.hand_out_again(&mut work, ordering)
                || free(&work) && self.is_due(&work) && self.hand_out(&mut work, ordering, transactions.as_ref())
            {
            }
            let room = reach.room(&work.lanes, work.watermark.span());
            let closes = work.since.map(|since| since + self.plan.batch.window.get());
            let returns = work.again.next().filter(|_| free_again(&work));
            let collecting = free(&work) && work.lanes.ready().records > 0;
            if let Some(gathering) = &mut work.gathering {
                gathering.collects(if collecting { work.lanes.ready() } else { Amount::default() });
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(done) = work.batches.join_next() => if !self.done(&mut work, done) { break },
                () = handed_over(&mut work.before), if work.lanes.in_turn() => work.lanes.hand_over(),
                () = called(&mut work.gathering) => {}
                message = self.read(), if room > 0 => {
                    if work.watermark.is_new() {
                        match beginning.begins_at(message.offset(), &self.stop).await {
                            Ok(true) => {}
                            Ok(false) => continue,
                            Err(_stopped) => break,
                        }
                        let (topic, partition, offset) = (&*self.topic, self.number, message.offset());
                        info!(topic, partition, offset, "reading from here");
                    }
                    // Others may have read much since that was asked.
                    let room = reach.room(&work.lanes, work.watermark.span()).clamp(1, AT_ONCE);
                    self.take(&mut work, room, &message);
                    if let Some(offset) = work.rewound {
                        let (topic, partition) = (&*self.topic, self.number);
                        error!(topic, partition, offset, "read before: the runner must start again");
                        self.failed.cancel();
                        break;
                    }
                }
                () = sleep_until(closes.unwrap_or_else(Instant::now)), if collecting && closes.is_some() => {}
                () = sleep_until(returns.unwrap_or_else(Instant::now)), if returns.is_some() => {}
                _ = resting.changed() => {}
                _ = looks.tick() => {
                    self.tell_held(&mut work);
                    self.pass(&mut work, transactions.as_ref());
                }
            }
        }
        // What waits here is for the next owner: nobody else should reckon with it, nor leave it room.
        work.gathering = None;
        work.lanes.leave();
        drop(reach);
        // What is in work may end.
        while let Some(done) = work.batches.join_next().await {
            self.done(&mut work, done);
        }
        self.pipeline.stats.held(&self.topic, self.number, None);
    }

    /// Takes in a record that was read, and those behind it: so many at most.
    fn take(&self, work: &mut Work, most: usize, first: &BorrowedMessage<'_>) {
        let (mut messages, result) = self.queue.take(most.saturating_sub(1));
        let mut dropped = 0;
        if self.wants(work, first, &mut dropped) {
            work.lanes.push(Entry::new(&self.topic, self.number, first));
        }
        messages.retain(|message| self.wants(work, message, &mut dropped));
        entry::copy(&self.topic, self.number, &messages, |entry| work.lanes.push(entry));
        if let Err(error) = result {
            self.unread(&error, 0);
        }
        if work.lanes.waiting().records > 0 {
            work.since.get_or_insert_with(Instant::now);
        }
        self.left_out(work, dropped);
    }

    /// Whether the function gets the record; where not, that is its outcome.
    ///
    /// One that was read before has had it, or will: librdkafka may go back to where an earlier assignment
    /// would have begun ([`crate::beginning`]), also while the partition is read. It does that once, for a client.
    /// Or the topic was made anew.
    fn wants(&self, work: &mut Work, record: &impl Source, dropped: &mut usize) -> bool {
        if !work.watermark.take(record.offset()) {
            work.rewound = Some(record.offset());
            return false;
        }
        let wants = self.pipeline.wants(record);
        if !wants {
            work.watermark.done(record.offset());
            *dropped += 1;
        }
        wants
    }

    /// Records were filtered out: that is their outcome.
    fn left_out(&self, work: &mut Work, records: usize) {
        if records > 0 {
            self.pipeline.stats.count(Counted::Dropped, records);
            self.pipeline.stats.count(Counted::Settled, records);
            work.moved = Instant::now();
            self.store(work.watermark.reached());
        }
    }

    /// Commits, in a transaction, past records that were all filtered out.
    fn pass(&self, work: &mut Work, transactions: Option<&Arc<Transactions>>) {
        let (Some(transactions), Some(reached)) = (transactions, work.watermark.reached()) else { return };
        if work.lanes.held().records > 0 || work.committed == Some(reached) {
            return;
        }
        work.committed = Some(reached);
        let (transactions, stop) = (transactions.clone(), self.stop.clone());
        work.batches.spawn(async move {
            let passed = transactions.pass(reached, &stop).await;
            (Ticket::default(), Vec::new(), passed.map(|()| Vec::new()))
        });
    }

    /// Whether what may be handed out now makes a batch, or has waited long enough.
    fn is_due(&self, work: &Work) -> bool {
        let window = self.plan.batch.window.get();
        let waited = || work.since.is_some_and(|since| since.elapsed() >= window);
        let called = || work.gathering.as_ref().is_some_and(Gathering::is_called);
        work.lanes.ready().records > 0 && (work.lanes.has_full(&self.plan.batch) || waited() || called())
    }

    /// Puts a batch into work; answers whether there was one.
    fn hand_out(&self, work: &mut Work, ordering: Ordering, transactions: Option<&Arc<Transactions>>) -> bool {
        let full = work.lanes.has_full(&self.plan.batch);
        let Some(batch) = work.lanes.hand_out(&self.plan.batch) else { return false };
        if let Some(gathering) = &mut work.gathering {
            gathering.hands_over(full);
        }
        work.since = (work.lanes.waiting().records > 0).then(Instant::now);
        let (records, ticket) = batch.split();
        let offsets = records.iter().map(Entry::offset).collect();
        let (pipeline, stop) = (self.pipeline.clone(), self.stop.clone());
        let turn = Turn::after(work.before.take(), work.resting.clone(), self.late.clone());
        work.before = (ordering == Ordering::Partition).then(|| turn.before_next());
        let transactions = transactions.cloned();
        work.batches.spawn(async move {
            let settled = match transactions {
                None => pipeline.settle(records, ordering, &turn, &stop).await,
                Some(transactions) => transactions.settle(&pipeline, records, &turn, &stop).await.map(|()| Vec::new()),
            };
            // In order, what is left of a batch is before the next one.
            if settled.as_ref().is_ok_and(|again| again.is_empty() || ordering != Ordering::Partition) {
                turn.settled();
            }
            (ticket, offsets, settled)
        });
        true
    }

    /// Puts what has rested into work; answers whether there was any.
    fn hand_out_again(&self, work: &mut Work, ordering: Ordering) -> bool {
        let Some(stack) = work.again.take_due(Instant::now()) else { return false };
        let ticket = work.lanes.ticket(retry::records(&stack));
        let offsets = retry::records(&stack).map(Entry::offset).collect();
        let (pipeline, stop) = (self.pipeline.clone(), self.stop.clone());
        let turn = Turn::after(None, work.resting.clone(), self.late.clone());
        work.batches.spawn(async move {
            let settled = pipeline.resume(stack, ordering, &turn, &stop).await;
            (ticket, offsets, settled)
        });
        true
    }

    /// Takes in how a batch ended; `false` ends the task.
    fn done(&self, work: &mut Work, done: Result<Done, JoinError>) -> bool {
        let (mut ticket, mut offsets, settled) = match done {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_cancelled) => return false,
        };
        let again = match settled {
            Ok(again) => again,
            Err(unsettled) => {
                self.end(&unsettled);
                return false;
            }
        };
        if !again.is_empty() {
            let left = || again.iter().flat_map(|again| retry::records(&again.stack));
            let resting = work.lanes.ticket(left());
            work.lanes.rests(&resting);
            ticket = ticket.without(&resting);
            let mut open: Vec<i64> = left().map(Entry::offset).collect();
            open.sort_unstable();
            offsets.retain(|offset| open.binary_search(offset).is_err());
            let now = Instant::now();
            for mut again in again {
                again.stack.iter_mut().flat_map(|work| &mut work.records).for_each(Entry::part);
                work.again.push(again, now, &self.plan.batch);
            }
        }
        let before = work.watermark.reached();
        let last = offsets.last().copied().or(work.committed);
        // With lanes a batch has the records of one key after those of another.
        offsets.sort_unstable();
        work.watermark.all_done(&offsets);
        work.lanes.finish(ticket);
        let reached = work.watermark.reached();
        if reached != before {
            work.moved = Instant::now();
            work.committed = last.filter(|_| self.transactional.is_some());
            self.store(reached);
        }
        true
    }

    /// Has the watermark committed.
    fn store(&self, reached: Option<i64>) {
        // In a transaction the offset goes with the effects.
        let Some(offset) = reached.filter(|_| self.transactional.is_none()) else { return };
        if let Err(error) = self.consumer.store_offset(&self.topic, self.number, offset) {
            // The partition was lost while its batch was settled: its next owner repeats it.
            warn!(topic = &*self.topic, partition = self.number, offset, %error, "offset not stored");
        }
    }

    fn end(&self, unsettled: &Unsettled) {
        if let Unsettled::Producer(error) = unsettled {
            error!(%error, "the runner must start again");
            self.failed.cancel();
        }
    }

    /// Says which record the partition waits for, where that takes long.
    fn tell_held(&self, work: &mut Work) {
        let oldest = work.watermark.oldest();
        if oldest.is_none() {
            work.moved = Instant::now();
        }
        let long = work.moved.elapsed() > self.pipeline.plan.timeout + HELD;
        self.pipeline.stats.held(&self.topic, self.number, oldest.filter(|_| long));
    }

    /// An error came in place of a record, after so many in a row.
    fn unread(&self, error: &KafkaError, before: u32) {
        metrics::counter!("tidemill_runner_fetch_errors_total").increment(1);
        if before.is_multiple_of(TOLD) {
            warn!(topic = &*self.topic, partition = self.number, %error, "no records can be read");
        }
    }

    /// The next record; errors are logged and waited out.
    async fn read(&self) -> BorrowedMessage<'_> {
        let mut pauses = 0_u32;
        loop {
            match self.queue.next().await {
                Ok(message) => return message,
                Err(error) => {
                    self.unread(&error, pauses);
                    pauses += 1;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Waits until another partition wants what this one has, to share an invocation.
async fn called(gathering: &mut Option<Gathering>) {
    match gathering {
        Some(gathering) => gathering.called().await,
        None => std::future::pending().await,
    }
}

/// Waits until the batch lets the next one be invoked.
async fn handed_over(before: &mut Option<Before>) {
    match before {
        Some(before) => before.handed_over().await,
        None => std::future::pending().await,
    }
}
