//! `delivery: exactlyOnce`: what a batch has caused and its offset are one Kafka transaction.
//!
//! Each partition has a producer of its own, named after the group and the partition: when another
//! runner takes the partition over, its producer fences this one, and the offset that a transaction
//! commits is taken only from the member that owns the partition. Outputs and dead letters are
//! collected while the function works and produced at its end, so that a transaction is short, and
//! one that is aborted is made again without calling the function twice.

use crate::{
    consumer::Consumer,
    entry::Entry,
    failure::Failure,
    output::{self, KafkaSink, Sink},
    pauses::{self, Pauses},
    pipeline::{Pipeline, Unsettled, whole},
    record::OutRecord,
    route::{self, Route},
    stats::{Counted, Tally},
    turn::Turn,
};
use parking_lot::Mutex;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, Producer},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_api::Ordering;
use tidemill_kafka::Connection;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// How long the broker leaves a transaction open whose producer is silent.
const OPEN: Duration = Duration::from_secs(30);

/// How long a call waits for its answer until it asks to be called again.
const CALL: Duration = Duration::from_secs(3);
/// Between two calls.
const PAUSE: Duration = Duration::from_millis(50);
/// For how long it is called again: what has not come to its end cannot be aborted either.
const RESUMED: Duration = OPEN;
/// How long a request may be unanswered. A call does not end while one of its own is.
const REQUEST: Duration = Duration::from_secs(6);
/// How long a call may take, of which the longest makes two requests: one that takes longer never
/// ends. In librdkafka 2.12 that is so where the broker that coordinates the group dies in the
/// middle of `send_offsets_to_transaction` and another takes over.
const STUCK: Duration = Duration::from_secs(15);
/// How long the group may refuse the member: so long it may take to hear of its revocation.
const REFUSED: Duration = Duration::from_secs(10);

/// The transactions of one partition.
pub struct Transactions {
    producer: FutureProducer,
    sink: KafkaSink,
    consumer: Arc<Consumer>,
    topic: String,
    partition: i32,
}

/// Why a transaction was not committed; it was aborted.
enum Aborted {
    /// It may be made again.
    Again(KafkaError),
    /// A record will never be taken.
    Refused(output::Error),
    /// Another owns the partition now, or the producer cannot go on.
    Fenced(KafkaError),
}

/// What a batch has caused, until it is produced.
#[derive(Default)]
struct Effects {
    outputs: Collected,
    letters: Collected,
    counts: Mutex<Vec<(Counted, usize)>>,
}

#[derive(Default)]
struct Collected(Mutex<Vec<OutRecord>>);

impl Sink for Collected {
    async fn produce(&self, records: &[OutRecord]) -> Result<(), output::Error> {
        self.0.lock().extend_from_slice(records);
        Ok(())
    }
}

impl Tally for Effects {
    fn count(&self, what: Counted, records: usize) {
        self.counts.lock().push((what, records));
    }
}

impl Transactions {
    /// Fences whoever had the partition before; waits until the broker lets it.
    ///
    /// # Errors
    /// When told to stop before, or the client cannot be made.
    pub async fn open(
        connection: &Connection,
        group: &str,
        topic: &str,
        partition: i32,
        consumer: Arc<Consumer>,
        stop: &CancellationToken,
    ) -> Result<Self, Unsettled> {
        let id = format!("tidemill.{group}.{topic}.{partition}");
        let mut pauses = Pauses::default();
        loop {
            let mut config = connection.producer_config();
            config
                .set("transactional.id", &id)
                .set("transaction.timeout.ms", OPEN.as_millis().to_string())
                .set("socket.timeout.ms", REQUEST.as_millis().to_string())
                // Within the transaction's time.
                .set("delivery.timeout.ms", (OPEN / 2).as_millis().to_string());
            let fatal = |error: &KafkaError| Unsettled::Producer(output::Error::Fatal(error.to_string()));
            let producer: FutureProducer = config.create().map_err(|error| fatal(&error))?;
            // Nothing is open yet that would have to be ended.
            let opened = tokio::select! {
                () = stop.cancelled() => return Err(Unsettled::Stopped),
                opened = called(&producer, |producer| producer.init_transactions(CALL)) => opened,
            };
            match opened {
                Ok(()) => {
                    info!(topic, partition, "transactions are ready");
                    let sink = KafkaSink::from(producer.clone());
                    return Ok(Self { producer, sink, consumer, topic: topic.to_owned(), partition });
                }
                Err(error) => {
                    warn!(topic, partition, %error, retry_in = ?pauses.length(), "transactions are not ready yet")
                }
            }
            pauses.wait(stop).await?;
        }
    }

    /// Works on `records` until what they cause and their offset are committed together.
    ///
    /// # Errors
    /// When it stopped before that: then none of it is visible to who reads what is committed.
    pub async fn settle<S: Sink>(
        &self,
        pipeline: &Pipeline<S>,
        records: Vec<Entry>,
        turn: &Turn,
        stop: &CancellationToken,
    ) -> Result<(), Unsettled> {
        let Some(last) = records.last().map(Entry::offset) else { return Ok(()) };
        let effects = Effects::default();
        whole(&pipeline.settle_by(&effects.route(turn), records.clone(), Ordering::Partition, stop).await?)?;
        let Err(refused) = self.commit(&effects.take(), last, stop).await? else {
            effects.count_into(&*pipeline.stats);
            return Ok(());
        };
        // Which record's outputs are refused shows when each has a transaction of its own.
        for record in records {
            let offset = record.offset();
            let mut effects = Effects::default();
            whole(&pipeline.settle_by(&effects.route(turn), vec![record.clone()], Ordering::Partition, stop).await?)?;
            let failed = effects.are_letters();
            let mut letters = effects.take();
            if let Err(again) = self.commit(&letters, offset, stop).await? {
                debug!(offset, error = %again, first = %refused, "what a record causes is refused");
                // Where it has failed its letter says why, and no other one would say more.
                if !failed {
                    effects = Effects::default();
                    let dead = vec![(record.record(), Failure::new("OutputRefused", again))];
                    pipeline.give_up(&effects.route(turn), dead, 1, stop).await?;
                    letters = effects.take();
                }
                while let Err(refused) = self.commit(&letters, offset, stop).await? {
                    route::held(&refused, stop).await?;
                }
            }
            effects.count_into(&*pipeline.stats);
        }
        Ok(())
    }

    /// Commits past records that have no effects.
    ///
    /// # Errors
    /// When it stopped before.
    pub async fn pass(&self, last: i64, stop: &CancellationToken) -> Result<(), Unsettled> {
        self.commit(&[], last, stop).await?.map_err(Unsettled::Producer)
    }

    /// Commits records and offset together, again and again until that is done; the inner error is
    /// a refusal for good.
    async fn commit(
        &self,
        records: &[OutRecord],
        last: i64,
        stop: &CancellationToken,
    ) -> Result<Result<(), output::Error>, Unsettled> {
        let mut pauses = Pauses::default();
        let mut refused: Option<Instant> = None;
        loop {
            match self.once(records, last).await {
                Ok(()) => return Ok(Ok(())),
                Err(Aborted::Refused(error)) => return Ok(Err(error)),
                Err(Aborted::Fenced(error)) => {
                    warn!(topic = self.topic, partition = self.partition, %error, "the partition has another owner");
                    // Its revocation is on its way; where it is not, the runner starts again.
                    tokio::select! {
                        () = stop.cancelled() => return Err(Unsettled::Stopped),
                        () = sleep(pauses::LONGEST) => {
                            return Err(Unsettled::Producer(output::Error::Fatal(error.to_string())));
                        }
                    }
                }
                Err(Aborted::Again(error)) => {
                    // While partitions come or go, nothing else of the group is heard.
                    let expelled = is_expelled(&error) && !self.consumer.context().commits.is_rebalancing();
                    refused = expelled.then(|| refused.unwrap_or_else(Instant::now));
                    // Not even a revocation came: librdkafka does not know that the member is none any more.
                    if refused.is_some_and(|since| since.elapsed() > REFUSED) {
                        return Err(Unsettled::Producer(output::Error::Fatal(error.to_string())));
                    }
                    metrics::counter!("tidemill_runner_transactions_total", "result" => "aborted").increment(1);
                    warn!(topic = self.topic, partition = self.partition, %error, retry_in = ?pauses.length(), "transaction aborted, will repeat");
                    pauses.wait(stop).await?;
                }
            }
        }
    }

    async fn once(&self, records: &[OutRecord], last: i64) -> Result<(), Aborted> {
        self.producer.begin_transaction().map_err(sorted)?;
        let error = match self.sink.produce(records).await {
            Ok(()) => match self.finish(last).await {
                Ok(()) => {
                    metrics::counter!("tidemill_runner_transactions_total", "result" => "committed").increment(1);
                    return Ok(());
                }
                // Nothing can be aborted, and it may be that all is committed.
                Err(Aborted::Fenced(error)) => return Err(Aborted::Fenced(error)),
                Err(error) => error,
            },
            Err(error @ output::Error::Refused { .. }) => Aborted::Refused(error),
            Err(output::Error::Unavailable { .. }) => Aborted::Again(KafkaError::Canceled),
            Err(output::Error::Fatal(_)) => Aborted::Fenced(KafkaError::Canceled),
        };
        match called(&self.producer, |producer| producer.abort_transaction(CALL)).await {
            Ok(()) => Err(error),
            // With this producer no other transaction can begin.
            Err(aborting) => Err(Aborted::Fenced(aborting)),
        }
    }

    /// The offset, then the commit.
    async fn finish(&self, last: i64) -> Result<(), Aborted> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic, self.partition, Offset::Offset(last + 1)).map_err(sorted)?;
        let consumer = self.consumer.clone();
        let sent = called(&self.producer, move |producer| {
            // As the group is now: a member of an earlier epoch is refused.
            let member = consumer.group_metadata().ok_or(KafkaError::Canceled)?;
            producer.send_offsets_to_transaction(&offsets, &member, CALL)
        });
        sent.await.map_err(sorted)?;
        let committed = called(&self.producer, |producer| producer.commit_transaction(CALL)).await;
        committed.map_err(|error| match &error {
            // It is still at work, and a call that aborts it would only be told so.
            KafkaError::Transaction(inner) if inner.is_retriable() => Aborted::Fenced(error),
            _ => sorted(error),
        })
    }
}

impl Collected {
    fn take(&self) -> Vec<OutRecord> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Effects {
    fn route<'a>(&'a self, turn: &'a Turn) -> Route<'a, Collected> {
        Route { outputs: &self.outputs, dead_letters: &self.letters, tally: self, turn }
    }

    fn take(&self) -> Vec<OutRecord> {
        [self.outputs.take(), self.letters.take()].concat()
    }

    /// Whether all that was caused are dead letters.
    fn are_letters(&self) -> bool {
        self.outputs.0.lock().is_empty() && !self.letters.0.lock().is_empty()
    }

    fn count_into(&self, tally: &dyn Tally) {
        self.counts.lock().drain(..).for_each(|(what, records)| tally.count(what, records));
    }
}

/// Calls until the answer is not "call again"; each call has a thread of its own, and one that is stuck
/// is left there.
async fn called(
    producer: &FutureProducer,
    call: impl Fn(&FutureProducer) -> Result<(), KafkaError> + Clone + Send + 'static,
) -> Result<(), KafkaError> {
    let begun = Instant::now();
    loop {
        let (producer, call) = (producer.clone(), call.clone());
        let done = timeout(STUCK, spawn_blocking(move || call(&producer))).await;
        let done = done.map_or(Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut)), |done| {
            done.expect("calls of librdkafka do not panic")
        });
        match done {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && begun.elapsed() < RESUMED => {
                debug!(%error, "a call of a transaction is repeated");
                sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Whether the group does not know the member as it is.
fn is_expelled(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let KafkaError::Transaction(error) = error else { return false };
    matches!(error.code(), Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedMemberEpoch)
}

fn sorted(error: KafkaError) -> Aborted {
    match &error {
        KafkaError::Transaction(inner) if inner.is_fatal() => Aborted::Fenced(error),
        // Stuck: nor would a call that aborts it end.
        KafkaError::Global(RDKafkaErrorCode::OperationTimedOut) => Aborted::Fenced(error),
        _ => Aborted::Again(error),
    }
}
