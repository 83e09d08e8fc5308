//! From records in hand to a durable outcome for each of them.
//!
//! `settle` returns `Ok` only when every record it was given has been answered for and its
//! outputs are acknowledged, or has been acknowledged by the failure destination. Whoever commits
//! offsets after that, and only after that, loses nothing.

use crate::{
    answer::{self, Answer},
    archive::Archive,
    dead_letter,
    decode::Decoder,
    encode::{Encoder, Encodings},
    event::{self, ScheduledEvent},
    failure::Failure,
    invocation::{Failed, Outcome},
    output::{self, Sink},
    pool::Pool,
    record::{OutRecord, Record},
    retry::{self, Again, Next, Work},
    route::Route,
    stats::{Counted, Stats},
    turn::Turn,
};
use bytes::Bytes;
use chrono::DateTime;
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
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What the event says it came from.
    pub bootstrap_servers: String,
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
    pub fn wants(&self, record: &Record) -> bool {
        self.filters.is_empty() || self.decoder.is_some() || self.passes(record)
    }

    fn passes(&self, record: &Record) -> bool {
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        self.filters.passes(record.json_key(), record.json_value(), headers)
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
        records: Vec<Record>,
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
        records: Vec<Record>,
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
        records: Vec<Record>,
        stop: &CancellationToken,
    ) -> Result<Vec<Work>, Unsettled> {
        let (small, large) = self.split_by_size(records);
        for record in large {
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
                let Some(mut work) = self.drop_old(route, work, stop).await? else { continue };
                work.attempts += 1;
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
                    Next::Split { first, second, apart } => {
                        let records = first.records.len() + second.records.len();
                        info!(records, reason = failures.summary(), "splitting a failing batch");
                        if apart {
                            stacks.push(vec![second]);
                        } else {
                            stack.push(second);
                        }
                        stack.push(first);
                    }
                    Next::Dead(work) => {
                        let attempts = work.attempts;
                        let dead = work.records.into_iter().zip(failures.for_each()).collect();
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

    /// Delivers one firing of a schedule.
    ///
    /// # Errors
    /// When it stopped before the outcome was durable.
    pub async fn settle_schedule(&self, event: &ScheduledEvent, stop: &CancellationToken) -> Result<(), Unsettled> {
        let turn = Turn::default();
        let route = &self.route(&turn);
        let payload = Bytes::from(serde_json::to_vec(event).expect("the event is JSON"));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = match self.encodings().await {
                Ok(encodings) => Ok((self.invoke(payload.clone(), 1, stop).await, encodings)),
                Err(failure) => Err(failure),
            };
            let failure = match outcome {
                Err(failure) => failure,
                Ok((Err(Failed::Stopping), _)) => return Err(Unsettled::Stopped),
                Ok((Ok(body), encodings)) => match answer::read(&body, &[], self.plan.output.as_ref(), &encodings) {
                    Ok(answer) => match route.produce(&answer.outputs, stop).await? {
                        Ok(()) => break,
                        Err(refused) => Failure::new("OutputRefused", refused),
                    },
                    Err(error) => Failure::new("InvalidAnswer", error),
                },
                Ok((Err(failed), _)) => Failure::new(failed.kind(), &failed),
            };
            if attempts < self.plan.retry.attempts {
                warn!(attempts, reason = failure.message, "attempt failed, will retry");
                route.turn.rest(self.pause(attempts, retry::ANY), stop).await?;
                continue;
            }
            // Named by when it was due: each firing is another record, and the same one after a restart.
            let due = DateTime::parse_from_rfc3339(&event.time).map_or(0, |time| time.timestamp());
            let record = Record {
                topic: self.plan.name.as_str().into(),
                offset: due,
                timestamp: due * 1_000,
                value: Some(payload),
                ..Record::default()
            };
            self.give_up(route, vec![(record, failure)], attempts, stop).await?;
            return Ok(());
        }
        route.tally.count(Counted::Settled, 1);
        Ok(())
    }

    /// Effects as they are where nothing binds them together.
    fn route<'a>(&'a self, turn: &'a Turn) -> Route<'a, S> {
        Route { outputs: &self.outputs, dead_letters: &self.dead_letters, tally: &*self.stats, turn }
    }

    /// The records as their schemas describe them: what cannot be decoded is given up, and what
    /// the function does not want is left out.
    async fn decoded<T: Sink>(
        &self,
        route: &Route<'_, T>,
        records: Vec<Record>,
        stop: &CancellationToken,
    ) -> Result<Vec<Record>, Unsettled> {
        let Some(decoder) = &self.decoder else { return Ok(records) };
        let mut decoded = Vec::with_capacity(records.len());
        // One record waits for a registry that is away, and not each of the batch.
        let mut waited = false;
        for mut record in records {
            let mut attempts = 1;
            let json = loop {
                match decoder.decode(&record).await {
                    Err(error)
                        if error.may_heal()
                            && attempts < self.plan.retry.attempts
                            && !(waited && error.is_registry_away()) =>
                    {
                        warn!(attempts, %error, "a record cannot be decoded, will retry");
                        route.turn.rest(self.pause(attempts, retry::ANY), stop).await?;
                        attempts += 1;
                    }
                    outcome => break outcome,
                }
            };
            match json {
                Ok(json) => {
                    record.decoded = json.map(Box::new);
                    decoded.push(record);
                }
                Err(error) => {
                    decoder.give_up(&error);
                    waited |= error.is_registry_away();
                    self.give_up(route, vec![(record, error.failure())], attempts, stop).await?;
                }
            }
        }
        if !self.filters.is_empty() {
            let before = decoded.len();
            decoded.retain(|record| self.passes(record));
            route.tally.count(Counted::Dropped, before - decoded.len());
            route.tally.count(Counted::Settled, before - decoded.len());
        }
        Ok(decoded)
    }

    /// The schemas of the topics that the function writes to.
    async fn encodings(&self) -> Result<Encodings, Failure> {
        match &self.encoder {
            Some(encoder) => encoder.schemas().await,
            None => Ok(Encodings::default()),
        }
    }

    /// One invocation and what follows from its answer; `last` is what has nothing of its batch
    /// behind it.
    async fn attempt<T: Sink>(
        &self,
        route: &Route<'_, T>,
        work: Work,
        ordering: Ordering,
        last: bool,
        stop: &CancellationToken,
    ) -> Result<Attempt, Unsettled> {
        let retry = &self.plan.retry;
        // An attempt that is not made does not count.
        let unmade = |work: Work| Attempt::Stopped(Work { attempts: work.attempts - 1, ..work });
        let answer = loop {
            if route.turn.is_in_vain() {
                route.turn.come().await?;
            }
            let early = route.turn.is_early();
            let answer = match self.answer(&work, stop).await {
                Err(Unsettled::Stopped) => return Ok(unmade(work)),
                answer => answer?,
            };
            if !early || route.turn.come().await? {
                break answer;
            }
            if stop.is_cancelled() {
                return Ok(unmade(work));
            }
        };
        let failed = |work: Work, failure| Ok(Attempt::Failed(work.failed(retry, ordering), Failures::Whole(failure)));
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return failed(work, failure),
        };
        if last && answer.failures.is_empty() {
            route.turn.hand_over();
        }
        if let Err(refused) = route.produce(&answer.outputs, stop).await? {
            route.turn.take_back();
            return failed(work, Failure::new("OutputRefused", refused));
        }
        route.tally.count(Counted::Dropped, answer.dropped);
        route.tally.count(Counted::Settled, work.records.len() - answer.failures.len());
        if answer.failures.is_empty() {
            return Ok(Attempt::Settled);
        }
        let attempts = work.attempts;
        let failed = work.records.into_iter().enumerate().filter(|(index, _)| answer.failures.contains_key(index));
        let failed = Work { records: failed.map(|(_, record)| record).collect(), attempts, named: true };
        // The function has named the guilty records: there is nothing to bisect.
        let next = if attempts < retry.attempts { Next::Again(failed) } else { Next::Dead(failed) };
        Ok(Attempt::Failed(next, Failures::Each(answer.failures.into_values().collect())))
    }

    /// What the function makes of the records; the inner error is why it has failed with them.
    async fn answer(&self, work: &Work, stop: &CancellationToken) -> Result<Result<Answer, Failure>, Unsettled> {
        // Before the function is called: without them its answer would be for nothing.
        let encodings = match self.encodings().await {
            Ok(encodings) => encodings,
            Err(failure) => return Ok(Err(failure)),
        };
        let payload = Bytes::from(event::kafka(&work.records, &self.bootstrap_servers));
        let body = match self.invoke(payload, work.records.len(), stop).await {
            Ok(body) => body,
            Err(Failed::Stopping) => return Err(Unsettled::Stopped),
            Err(failed) => return Ok(Err(Failure::new(failed.kind(), &failed))),
        };
        let answer = answer::read(&body, &work.records, self.plan.output.as_ref(), &encodings);
        Ok(answer.map_err(|error| Failure::new("InvalidAnswer", error)))
    }

    async fn invoke(&self, payload: Bytes, records: usize, stop: &CancellationToken) -> Outcome {
        let id = uuid::Uuid::new_v4().to_string();
        let (outcome, busy) = self.pool.invoke(id, payload, stop).await;
        let result = match &outcome {
            Ok(_) => "success",
            Err(Failed::Function(_)) => "error",
            Err(Failed::Timeout(_)) => "timeout",
            Err(Failed::Crash(_)) => "crash",
            Err(Failed::Stopping) => return outcome,
        };
        self.stats.invoked(records, busy, result);
        outcome
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
    fn pause(&self, attempts: u32, part: RangeInclusive<f64>) -> Duration {
        retry::pause(&self.plan.retry.backoff, attempts, part, &mut rand::rng())
    }

    fn split_by_size(&self, records: Vec<Record>) -> (Vec<Record>, Vec<Record>) {
        let limit = self.plan.kafka().map_or(u64::MAX, |kafka| kafka.batch.max_bytes.get());
        records.into_iter().partition(|record| record.size() <= limit)
    }

    async fn drop_old<T: Sink>(
        &self,
        route: &Route<'_, T>,
        work: Work,
        stop: &CancellationToken,
    ) -> Result<Option<Work>, Unsettled> {
        let Some(limit) = self.plan.retry.max_age else { return Ok(Some(work)) };
        let oldest = chrono::Utc::now().timestamp_millis() - i64::try_from(limit.get().as_millis()).unwrap_or(i64::MAX);
        let (attempts, named) = (work.attempts, work.named);
        let (young, old): (Vec<_>, Vec<_>) =
            work.records.into_iter().partition(|record| record.timestamp == 0 || record.timestamp >= oldest);
        let dead: Vec<_> = old
            .into_iter()
            .map(|record| {
                let message = format!("the record is older than retry.maxAge ({limit})");
                (record, Failure::new("RecordExpired", message))
            })
            .collect();
        if !dead.is_empty() {
            self.give_up(route, dead, attempts, stop).await?;
        }
        Ok((!young.is_empty()).then_some(Work { records: young, attempts, named }))
    }
}

/// What came of an invocation.
enum Attempt {
    /// All of its records have an outcome.
    Settled,
    /// Some have not, for these reasons.
    Failed(Next, Failures),
    /// It was not made: the runner stops.
    Stopped(Work),
}

/// Why the records of a piece of work failed.
enum Failures {
    /// All for one reason.
    Whole(Failure),
    /// Each for its own.
    Each(Vec<Failure>),
}

impl Failures {
    fn summary(&self) -> &str {
        match self {
            Self::Whole(failure) => &failure.message,
            Self::Each(failures) => failures.first().map_or("", |failure| &failure.message),
        }
    }

    fn for_each(self) -> Box<dyn Iterator<Item = Failure> + Send> {
        match self {
            Self::Whole(failure) => Box::new(std::iter::repeat(failure)),
            Self::Each(failures) => Box::new(failures.into_iter()),
        }
    }
}
