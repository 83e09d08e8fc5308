//! From records in hand to a durable outcome for each of them.
//!
//! `settle` returns `Ok` only when every record it was given has been answered for and its
//! outputs are acknowledged, or has been acknowledged by the failure destination, or is among those
//! that it gives back. Whoever commits offsets after that, and only after that, loses nothing.

use crate::{
    archive::Archive,
    attempt::Attempt,
    dead_letter,
    decode::Decoder,
    encode::Encoder,
    entry::Entry,
    failure::Failure,
    output::{self, Sink},
    pool::Pool,
    record::{OutRecord, Raw, Record, Source},
    retry::{self, Again, Next, Work},
    route::Route,
    shared::Shared,
    stats::{Counted, Stats},
    turn::Turn,
};
use std::{ops::RangeInclusive, sync::Arc, time::Duration};
use tidemill_api::{Ordering, plan::Plan};
use tidemill_filter::Filters;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What turns records into outcomes.
pub struct Pipeline<S> {
    /// The function as it runs.
    pub plan: Plan,
    /// Which records it gets.
    pub filters: Filters,
    /// What makes JSON of records that a schema describes, where there is a registry.
    pub decoder: Option<Decoder>,
    /// What encodes outputs, where there is a registry.
    pub encoder: Option<Encoder>,
    /// Its processes.
    pub pool: Pool,
    /// Where outputs go.
    pub outputs: Arc<S>,
    /// Where dead letters go: the trigger's cluster, which may be another one.
    pub dead_letters: Arc<S>,
    /// Where dead letters go instead, where the manifest names a bucket.
    pub archive: Option<Archive>,
    /// Where batches of several partitions meet, if they may share an invocation.
    pub shared: Option<Arc<Shared>>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What the event says it came from.
    pub bootstrap_servers: String,
}

/// For whoever can do nothing with a part of a batch.
///
/// # Errors
/// When something is left of it: then it has stopped.
pub fn whole(left: &[Again]) -> Result<(), Unsettled> {
    if left.is_empty() { Ok(()) } else { Err(Unsettled::Stopped) }
}

/// Why records have no durable outcome.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// The runner stops, or has lost the partition: the records will be read again.
    #[error("stopped before the records' outcome was durable")]
    Stopped,
    /// The producer cannot go on.
    #[error("records cannot be produced")]
    Producer(#[source] output::Error),
}

impl<S: Sink> Pipeline<S> {
    /// Whether the function gets the record; where not, its outcome is that it was left out.
    ///
    /// Where records are decoded first, that is known only then.
    #[must_use]
    pub fn wants(&self, record: &impl Source) -> bool {
        self.filters.is_empty() || self.decoder.is_some() || self.passes(Raw::of(record, &record.headers()))
    }

    fn passes(&self, record: Raw<'_>) -> bool {
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        self.filters.passes(record.key, record.value, headers)
    }

    /// Works on `records` until each has a durable outcome, or rests before another attempt while
    /// `ordering` lets others be worked on: those are answered, and go to [`Pipeline::resume`]. In
    /// the order of the partition nobody may, and all have an outcome.
    ///
    /// `stop` ends pauses and retries, not an invocation in flight: then what has no outcome is
    /// answered too, so that the rest is not done again.
    ///
    /// # Errors
    /// When it stopped where that is not known.
    pub async fn settle(
        &self,
        records: Vec<Entry>,
        ordering: Ordering,
        turn: &Turn,
        stop: &CancellationToken,
    ) -> Result<Vec<Again>, Unsettled> {
        self.settle_by(&self.route(turn), records, ordering, stop).await
    }

    /// The same for what has rested.
    ///
    /// # Errors
    /// When it stopped before.
    pub async fn resume(
        &self,
        stack: Vec<Work>,
        ordering: Ordering,
        turn: &Turn,
        stop: &CancellationToken,
    ) -> Result<Vec<Again>, Unsettled> {
        self.work_off(&self.route(turn), stack, ordering, stop).await
    }

    /// The same as [`Pipeline::settle`], with the effects going elsewhere.
    ///
    /// # Errors
    /// When it stopped before that.
    pub async fn settle_by<T: Sink>(
        &self,
        route: &Route<'_, T>,
        records: Vec<Entry>,
        ordering: Ordering,
        stop: &CancellationToken,
    ) -> Result<Vec<Again>, Unsettled> {
        let stack = self.prepared(route, records, stop).await?;
        self.work_off(route, stack, ordering, stop).await
    }

    /// What the function gets of the records: the others have their outcome.
    async fn prepared<T: Sink>(
        &self,
        route: &Route<'_, T>,
        records: Vec<Entry>,
        stop: &CancellationToken,
    ) -> Result<Vec<Work>, Unsettled> {
        let (small, large) = self.split_by_size(records);
        for record in large.into_iter().map(|entry| entry.record()) {
            let bytes = record.size();
            let failure =
                Failure::new("PayloadTooLarge", format!("the record has {bytes} bytes, above batch.maxBytes"));
            self.give_up(route, vec![(record, failure)], 0, stop).await?;
        }
        let small = self.decoded(route, small, stop).await?;
        Ok(if small.is_empty() { Vec::new() } else { vec![Work::new(small)] })
    }

    async fn work_off<T: Sink>(
        &self,
        route: &Route<'_, T>,
        stack: Vec<Work>,
        ordering: Ordering,
        stop: &CancellationToken,
    ) -> Result<Vec<Again>, Unsettled> {
        let mut again = Vec::new();
        // Stacks do not wait for each other.
        let mut stacks = vec![stack];
        while let Some(mut stack) = stacks.pop() {
            while let Some(work) = stack.pop() {
                if stop.is_cancelled() {
                    stack.push(work);
                    break;
                }
                let Some(work) = self.drop_old(route, work, stop).await? else { continue };
                let last = again.is_empty() && stack.is_empty() && stacks.is_empty();
                let (next, failures) = match self.attempt(route, work, ordering, last, stop).await? {
                    Attempt::Settled => continue,
                    Attempt::Stopped(work) => {
                        stack.push(work);
                        break;
                    }
                    Attempt::Failed(next, failures) => (next, failures),
                };
                match next {
                    Next::Again(work) => {
                        let (attempts, records) = (work.attempts, work.records.len());
                        warn!(attempts, records, reason = failures.summary(), "attempt failed, will retry");
                        let joined = work.named && ordering != Ordering::Partition;
                        let after = self.pause(attempts, if joined { retry::LONG } else { retry::ANY });
                        stack.push(work);
                        if ordering == Ordering::Partition {
                            // Where that is cut short, so is the stack.
                            drop(route.turn.rest(after, stop).await);
                        } else {
                            again.push(Again { stack: std::mem::take(&mut stack), after });
                        }
                    }
                    Next::Split(split) => {
                        let records = split.first.records.len() + split.second.records.len();
                        info!(records, reason = failures.summary(), "splitting a failing batch");
                        split.lay(&mut stack, &mut stacks);
                    }
                    Next::Dead(work) => {
                        let attempts = work.attempts;
                        let dead =
                            work.records.into_iter().map(|entry| entry.record()).zip(failures.for_each()).collect();
                        self.give_up(route, dead, attempts, stop).await?;
                    }
                }
            }
            // What is left when it has to stop.
            if !stack.is_empty() {
                again.push(Again { stack, after: Duration::ZERO });
            }
        }
        route.turn.come().await?;
        Ok(again)
    }

    /// Effects as they are where nothing binds them together.
    pub(crate) fn route<'a>(&'a self, turn: &'a Turn) -> Route<'a, S> {
        Route { outputs: &self.outputs, dead_letters: &self.dead_letters, tally: &*self.stats, turn }
    }

    /// The records as their schemas describe them: what cannot be decoded is given up, and what
    /// the function does not want is left out.
    async fn decoded<T: Sink>(
        &self,
        route: &Route<'_, T>,
        records: Vec<Entry>,
        stop: &CancellationToken,
    ) -> Result<Vec<Entry>, Unsettled> {
        let Some(decoder) = &self.decoder else { return Ok(records) };
        let mut wanted = Vec::with_capacity(records.len());
        let mut dropped = 0;
        // One record waits for a registry that is away, and not each of the batch.
        let mut waited = false;
        for mut entry in records {
            let mut attempts = 1;
            let json = loop {
                match decoder.decode(entry.topic(), entry.raw()).await {
                    Err(error)
                        if error.may_heal()
                            && attempts < self.plan.retry.attempts
                            && !(waited && error.is_registry_away())
                            && !self.is_too_old(&entry) =>
                    {
                        warn!(attempts, %error, "a record cannot be decoded, will retry");
                        route.turn.rest(self.pause(attempts, retry::ANY), stop).await?;
                        attempts += 1;
                    }
                    outcome => break outcome,
                }
            };
            match json {
                Ok(decoded) => {
                    decoded.into_iter().for_each(|decoded| entry.decode(decoded));
                    if self.passes(entry.seen()) {
                        wanted.push(entry);
                    } else {
                        dropped += 1;
                    }
                }
                Err(error) => {
                    decoder.give_up(&error);
                    waited |= error.is_registry_away();
                    let expired = error.may_heal() && self.is_too_old(&entry);
                    let failure = if expired { self.expired() } else { error.failure() };
                    self.give_up(route, vec![(entry.record(), failure)], attempts, stop).await?;
                }
            }
        }
        route.tally.count(Counted::Dropped, dropped);
        route.tally.count(Counted::Settled, dropped);
        Ok(wanted)
    }

    /// Hands records to the failure destination.
    ///
    /// # Errors
    /// When it stopped before that has them.
    pub async fn give_up<T: Sink>(
        &self,
        route: &Route<'_, T>,
        dead: Vec<(Record, Failure)>,
        attempts: u32,
        stop: &CancellationToken,
    ) -> Result<(), Unsettled> {
        // Letters are effects: in the order of the partition they come after those before.
        route.turn.come().await?;
        let count = dead.len();
        // One line, however many they are: of each the failure destination says more.
        if let Some((record, failure)) = dead.first() {
            warn!(
                records = count,
                topic = &*record.topic,
                partition = record.partition,
                first_offset = record.offset,
                attempts,
                kind = failure.kind,
                reason = failure.message,
                "records go to the failure destination"
            );
        }
        if let Some(archive) = &self.archive {
            for (record, failure) in &dead {
                archive.put(record, failure, attempts, stop).await?;
            }
        } else {
            let letters: Vec<OutRecord> = dead
                .into_iter()
                .map(|(record, failure)| {
                    let topic = self.plan.dead_letter_topic(&record.topic).unwrap_or_default();
                    dead_letter::record(record, topic, &failure, attempts)
                })
                .collect();
            route.bury(&letters, stop).await?;
        }
        route.tally.count(Counted::DeadLettered, count);
        route.tally.count(Counted::Settled, count);
        Ok(())
    }

    /// How long to wait after so many attempts.
    pub(crate) fn pause(&self, attempts: u32, part: RangeInclusive<f64>) -> Duration {
        retry::pause(&self.plan.retry.backoff, attempts, part, &mut rand::rng())
    }

    fn split_by_size(&self, records: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
        let limit = self.plan.kafka().map_or(u64::MAX, |kafka| kafka.batch.max_bytes.get());
        if records.iter().all(|record| record.size() <= limit) {
            return (records, Vec::new());
        }
        records.into_iter().partition(|record| record.size() <= limit)
    }

    async fn drop_old<T: Sink>(
        &self,
        route: &Route<'_, T>,
        work: Work,
        stop: &CancellationToken,
    ) -> Result<Option<Work>, Unsettled> {
        if !work.records.iter().any(|record| self.is_too_old(record)) {
            return Ok(Some(work));
        }
        let (attempts, named) = (work.attempts, work.named);
        let (old, young): (Vec<_>, Vec<_>) = work.records.into_iter().partition(|record| self.is_too_old(record));
        let dead = old.into_iter().map(|entry| (entry.record(), self.expired())).collect();
        self.give_up(route, dead, attempts, stop).await?;
        Ok((!young.is_empty()).then_some(Work { records: young, attempts, named }))
    }

    /// Whether no other attempt is to be made at the record.
    fn is_too_old(&self, record: &Entry) -> bool {
        self.plan.retry.max_age.is_some_and(|limit| {
            let limit = i64::try_from(limit.get().as_millis()).unwrap_or(i64::MAX);
            record.timestamp() != 0 && record.timestamp() < chrono::Utc::now().timestamp_millis().saturating_sub(limit)
        })
    }

    fn expired(&self) -> Failure {
        let limit = self.plan.retry.max_age.map_or_else(String::new, |limit| format!(" ({limit})"));
        Failure::new("RecordExpired", format!("the record is older than retry.maxAge{limit}"))
    }
}
