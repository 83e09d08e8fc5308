//! One invocation with some records: what the function makes of them, and what follows from that.

use crate::{
    answer::{self, Answer},
    encode::Encodings,
    entry::Entry,
    event,
    failure::Failure,
    invocation::{Failed, Outcome},
    output::Sink,
    pipeline::{Pipeline, Unsettled},
    retry::{Next, Work},
    route::Route,
    stats::Counted,
};
use bytes::Bytes;
use std::time::Duration;
use tidemill_api::Ordering;
use tokio_util::sync::CancellationToken;

/// What came of an invocation.
pub enum Attempt {
    /// All of its records have an outcome.
    Settled,
    /// Some have not, for these reasons.
    Failed(Next, Failures),
    /// It was not made: the runner stops.
    Stopped(Work),
}

/// What came of an event, and how long the function worked on it.
pub(crate) type Invocation = (Outcome, Duration);

/// Why the records of a piece of work failed.
pub enum Failures {
    /// All for one reason.
    Whole(Failure),
    /// Each for its own.
    Each(Vec<Failure>),
}

impl Failures {
    /// The first of the reasons.
    #[must_use]
    pub fn summary(&self) -> &str {
        match self {
            Self::Whole(failure) => &failure.message,
            Self::Each(failures) => failures.first().map_or("", |failure| &failure.message),
        }
    }

    /// The reason of each record, in their order.
    #[must_use]
    pub fn for_each(self) -> Box<dyn Iterator<Item = Failure> + Send> {
        match self {
            Self::Whole(failure) => Box::new(std::iter::repeat(failure)),
            Self::Each(failures) => Box::new(failures.into_iter()),
        }
    }
}

impl<S: Sink> Pipeline<S> {
    /// One invocation and what follows from its answer; `last` is what has nothing of its batch
    /// behind it.
    pub(crate) async fn attempt<T: Sink>(
        &self,
        route: &Route<'_, T>,
        mut work: Work,
        ordering: Ordering,
        last: bool,
        stop: &CancellationToken,
    ) -> Result<Attempt, Unsettled> {
        let retry = &self.plan.retry;
        let shared = match &self.shared {
            // The first time, and where nothing of its partition is before it.
            Some(shared) if work.attempts == 0 && !route.turn.is_early() => {
                match self.share(shared, &work.records, route.turn, stop).await {
                    Err(Unsettled::Stopped) => return Ok(Attempt::Stopped(work)),
                    shared => shared?,
                }
            }
            _ => None,
        };
        let answer = match shared {
            Some(answer) => answer,
            None => loop {
                if route.turn.is_in_vain() {
                    route.turn.come().await?;
                }
                let early = route.turn.is_early();
                let event = || event::kafka(&work.records, &self.bootstrap_servers).into();
                let answer = match self.answer(event, &work.records, stop).await {
                    Err(Unsettled::Stopped) => return Ok(Attempt::Stopped(work)),
                    answer => answer?,
                };
                if !early || route.turn.come().await? {
                    break answer;
                }
                if stop.is_cancelled() {
                    return Ok(Attempt::Stopped(work));
                }
            },
        };
        work.attempts += 1;
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

    /// What the function makes of an event, of records or of a schedule; the inner error is why it has
    /// failed with it.
    pub(crate) async fn answer(
        &self,
        event: impl FnOnce() -> Bytes,
        records: &[Entry],
        stop: &CancellationToken,
    ) -> Result<Result<Answer, Failure>, Unsettled> {
        // Before the function is called: without them its answer would be for nothing.
        let encodings = match self.encodings().await {
            Ok(encodings) => encodings,
            Err(failure) => return Ok(Err(failure)),
        };
        let invocation = self.invoke(event, event::size(records), stop).await;
        self.read(invocation, records, &encodings)
    }

    /// Has the function work on an event of about `size` bytes.
    pub(crate) async fn invoke(
        &self,
        event: impl FnOnce() -> Bytes,
        size: usize,
        stop: &CancellationToken,
    ) -> Invocation {
        self.pool.invoke(uuid::Uuid::new_v4().to_string(), size, event, stop).await
    }

    /// What an invocation with these records means.
    pub(crate) fn read(
        &self,
        (outcome, busy): Invocation,
        records: &[Entry],
        encodings: &Encodings,
    ) -> Result<Result<Answer, Failure>, Unsettled> {
        let result = match &outcome {
            Ok(_) => "success",
            Err(Failed::Function(_)) => "error",
            Err(Failed::Timeout(_)) => "timeout",
            Err(Failed::Crash(_)) => "crash",
            Err(Failed::Stopping) => return Err(Unsettled::Stopped),
        };
        // A firing counts as one.
        self.stats.invoked(records.len().max(1), busy, result);
        let body = match outcome {
            Ok(body) => body,
            Err(failed) => return Ok(Err(Failure::new(failed.kind(), &failed))),
        };
        let answer = answer::read(&body, records, self.plan.output.as_ref(), encodings);
        Ok(answer.map_err(|error| Failure::new("InvalidAnswer", error)))
    }

    /// The schemas of the topics that the function writes to.
    pub(crate) async fn encodings(&self) -> Result<Encodings, Failure> {
        match &self.encoder {
            Some(encoder) => encoder.schemas().await,
            None => Ok(Encodings::default()),
        }
    }
}
