//! Invocations that batches of several partitions share, where `batch.spanPartitions` says so.
//!
//! A partition whose window has passed calls the others to hand over what they have. Whichever batch
//! comes first leads: when there is room for an event, that has what has come meanwhile, as far as
//! `batch` allows. Its outputs are acknowledged before any of the batches hears of the answer, and each
//! keeps its own outcome from then on. An invocation that fails as a whole is made again for each batch
//! by itself, at once, so that no partition's records cost another an attempt.

use crate::{
    answer::Answer,
    entry::Entry,
    event,
    failure::Failure,
    lanes::Amount,
    output::Sink,
    pipeline::{Pipeline, Unsettled},
    turn::Turn,
};
use bytes::Bytes;
use futures::future::select_all;
use parking_lot::Mutex;
use std::{collections::VecDeque, convert::Infallible, future::pending, sync::Arc, time::Duration};
use tidemill_api::Batch as Limits;
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// In which those that were called hand over what they have.
const GATHER: Duration = Duration::from_millis(2);

/// Where batches of all partitions meet.
#[derive(Debug)]
pub struct Shared {
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// What partitions collect that could be handed over.
    collected: Mutex<Amount>,
    /// Changes when it should be.
    due: watch::Sender<()>,
}

/// Batches that wait for an event; where there is any, the first of them leads.
#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<Waiter>,
    last: u64,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    records: Vec<Entry>,
    amount: Amount,
    seat: Seat,
}

/// A batch in an event.
#[derive(Debug)]
struct Seat {
    records: usize,
    /// Cancelled when nothing more may be sent for its partition.
    late: Vec<CancellationToken>,
    /// Cancelled when the partition is given back.
    stop: CancellationToken,
    /// Where it hears what it should do; gone where it leads.
    told: Option<oneshot::Sender<Told>>,
}

/// What a batch that waits hears.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It is the first.
    Lead,
    /// What the function answered for it, whose outputs are acknowledged; where it was alone in the event,
    /// they are in the answer.
    Answered(Answer),
    /// Why the function failed with it, alone.
    Failed(Failure),
    /// The event failed: it should have its own.
    Alone,
    /// The event was not worked on.
    TakenBack,
}

/// A batch's place among those that wait, until it is taken or given up.
struct Place<'a> {
    shared: &'a Shared,
    id: u64,
    told: oneshot::Receiver<Told>,
}

impl Shared {
    /// Events of at most so many records and bytes.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let (waiting, collected) = <(Mutex<Waiting>, Mutex<Amount>)>::default();
        Arc::new(Self { limits, waiting, collected, due: watch::Sender::default() })
    }

    fn join(&self, records: Vec<Entry>, late: Vec<CancellationToken>, stop: CancellationToken) -> Place<'_> {
        let (told, hears) = oneshot::channel();
        let amount = Amount::of(&records);
        let seat = Seat { records: records.len(), late, stop, told: Some(told) };
        let mut waiting = self.waiting.lock();
        waiting.last += 1;
        let id = waiting.last;
        waiting.batches.push_back(Waiter { id, records, amount, seat });
        waiting.appoint();
        Place { shared: self, id, told: hears }
    }

    /// The records of the next event, and whose they are: the first is who leads.
    fn depart(&self) -> (Vec<Entry>, Vec<Seat>) {
        let mut waiting = self.waiting.lock();
        let (mut records, mut seats, mut amount) = (Vec::new(), Vec::new(), Amount::default());
        while let Some(next) = waiting.batches.front() {
            amount.add(next.amount);
            if !seats.is_empty() && amount.exceeds(&self.limits) {
                break;
            }
            let next = waiting.batches.pop_front().expect("the first is there");
            records.extend(next.records);
            seats.push(next.seat);
        }
        waiting.appoint();
        (records, seats)
    }

    /// Whether those who wait have all that an event may have.
    fn fills_an_event(&self) -> bool {
        let mut amount = Amount::default();
        self.waiting.lock().batches.iter().for_each(|waiter| amount.add(waiter.amount));
        amount.fills(&self.limits)
    }
}

impl Waiting {
    /// Tells the first that it leads, unless it has heard.
    fn appoint(&mut self) {
        if let Some(told) = self.batches.front_mut().and_then(|first| first.seat.told.take()) {
            // Who does not hear that any more leaves, and the next one is told.
            drop(told.send(Told::Lead));
        }
    }
}

impl Place<'_> {
    /// Answers whether it was still there.
    fn leave(&self) -> bool {
        let mut waiting = self.shared.waiting.lock();
        let place = waiting.batches.iter().position(|waiter| waiter.id == self.id);
        let found = place.and_then(|place| waiting.batches.remove(place));
        waiting.appoint();
        found.is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What one partition collects, as the others have to know it.
#[derive(Debug)]
pub struct Gathering {
    shared: Arc<Shared>,
    due: watch::Receiver<()>,
    amount: Amount,
    called: bool,
}

impl Gathering {
    /// Nothing yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { due: shared.due.subscribe(), shared, amount: Amount::default(), called: false }
    }

    /// So much could be handed over now; where that makes an event with what the others have, all are
    /// called.
    pub fn collects(&mut self, amount: Amount) {
        if amount == self.amount {
            return;
        }
        let grows = amount.records > self.amount.records;
        let full = {
            let mut all = self.shared.collected.lock();
            all.take(std::mem::replace(&mut self.amount, amount));
            all.add(amount);
            grows && all.fills(&self.shared.limits)
        };
        // One that has enough by itself needs nobody.
        if full && !amount.fills(&self.shared.limits) {
            self.shared.due.send_replace(());
        }
    }

    /// Waits until it is called.
    pub async fn called(&mut self) {
        if self.due.changed().await.is_err() {
            pending().await
        }
        self.called = self.amount.records > 0;
    }

    /// Whether it should hand over what it has.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.called
    }

    /// It hands over; those who collect are called, unless it has a whole batch, or was called itself.
    pub fn hands_over(&mut self, full: bool) {
        let calls = !full && !self.called && !self.shared.limits.window.get().is_zero();
        self.collects(Amount::default());
        self.called = false;
        if calls {
            self.shared.due.send_replace(());
            self.due.mark_unchanged();
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.collects(Amount::default());
    }
}

impl<S: Sink> Pipeline<S> {
    /// One invocation with these records and those of others; the inner error is why it has failed,
    /// where they were alone in it. `None`: they should be invoked by themselves.
    ///
    /// # Errors
    /// When it stopped before, or outputs cannot be produced.
    pub(crate) async fn share(
        &self,
        shared: &Shared,
        records: &[Entry],
        turn: &Turn,
        stop: &CancellationToken,
    ) -> Result<Option<Result<Answer, Failure>>, Unsettled> {
        loop {
            let mut place = shared.join(records.to_vec(), turn.late().to_vec(), stop.clone());
            let told = tokio::select! {
                biased;
                told = &mut place.told => told,
                () = stop.cancelled() => {
                    if place.leave() {
                        return Err(Unsettled::Stopped);
                    }
                    (&mut place.told).await
                }
            };
            let told = match told {
                Ok(Told::Lead) => self.lead(shared, stop).await?,
                Ok(told) => told,
                // Whoever led has nothing for it: the event failed, which was logged there, or the leader is gone.
                Err(_) => Told::Alone,
            };
            match told {
                Told::Answered(answer) => return Ok(Some(Ok(answer))),
                Told::Failed(failure) => return Ok(Some(Err(failure))),
                Told::Alone => return Ok(None),
                Told::Lead | Told::TakenBack if stop.is_cancelled() => return Err(Unsettled::Stopped),
                Told::Lead | Told::TakenBack => {}
            }
        }
    }

    /// Makes the next event, and tells all who are in it but itself what came of it.
    async fn lead(&self, shared: &Shared, stop: &CancellationToken) -> Result<Told, Unsettled> {
        if !shared.limits.window.get().is_zero() && !shared.fills_an_event() {
            sleep(GATHER).await;
        }
        let encodings = match self.encodings().await {
            Ok(encodings) => encodings,
            Err(failure) => return Ok(Told::Failed(failure)),
        };
        let (mut records, mut seats) = (Vec::new(), Vec::new());
        let (departed, mut known) = oneshot::channel();
        let event = || -> Bytes {
            (records, seats) = shared.depart();
            let stops: Vec<CancellationToken> = seats.iter().map(|seat: &Seat| seat.stop.clone()).collect();
            drop(departed.send(stops));
            event::kafka(&records, &self.bootstrap_servers).into()
        };
        // An event that nobody works on yet is taken back when any of its partitions is.
        let taken_back = stop.child_token();
        let ends = async {
            if let Ok(stops) = (&mut known).await {
                select_all(stops.iter().map(|stop| Box::pin(stop.cancelled()))).await;
                taken_back.cancel();
            }
            pending::<Infallible>().await
        };
        let invocation = tokio::select! {
            biased;
            never = ends => match never {},
            // As large as events may be: how many will share it is not known yet.
            invocation = self.invoke(event, usize::MAX, &taken_back) => invocation,
        };
        let Ok(answer) = self.read(invocation, &records, &encodings) else {
            for seat in seats {
                drop(seat.told.map(|told| told.send(Told::TakenBack)));
            }
            return Ok(Told::TakenBack);
        };
        if seats.len() < 2 {
            return Ok(answer.map_or_else(Told::Failed, Told::Answered));
        }
        let batches = seats.len();
        let alone = |reason: &dyn std::fmt::Display| {
            warn!(batches, records = records.len(), %reason, "a shared invocation failed: each batch has its own now");
            Ok(Told::Alone)
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return alone(&failure.message),
        };
        // For all of them; nothing of it is left for one to produce.
        let outputs = std::mem::take(&mut answer.outputs);
        let turn = Turn::of_all(seats.iter().map(|seat| seat.late.as_slice()));
        match self.route(&turn).produce(&outputs, stop).await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return alone(&refused),
            Err(Unsettled::Stopped) => return alone(&Unsettled::Stopped),
            Err(unsettled) => return Err(unsettled),
        }
        let mut answers = answer.split(seats.iter().map(|seat| seat.records)).into_iter();
        let own = answers.next().expect("each batch has its part of the answer");
        for (seat, answer) in seats.into_iter().skip(1).zip(answers) {
            // Who has gone meanwhile reads its records again.
            drop(seat.told.map(|told| told.send(Told::Answered(answer))));
        }
        Ok(Told::Answered(own))
    }
}

#[cfg(test)]
mod tests {
    use super::{Gathering, Shared, Told};
    use crate::{entry::Entry, lanes::Amount, record::Record};
    use futures::FutureExt;
    use tidemill_api::{Batch, Duration};
    use tokio_util::sync::CancellationToken;

    fn limits(max_records: u32) -> Batch {
        Batch { max_records, window: Duration::from_secs(1), ..Batch::default() }
    }

    fn batch(partition: i32, records: i64) -> Vec<Entry> {
        (0..records).map(|offset| Record { topic: "t".into(), partition, offset, ..Record::default() }.into()).collect()
    }

    fn some(records: usize) -> Amount {
        Amount { records, ..Amount::default() }
    }

    #[tokio::test]
    async fn the_first_leads_takes_along_what_fits_and_the_next_leads_what_is_left() {
        let shared = Shared::new(limits(10));
        let mut first = shared.join(batch(0, 4), Vec::new(), CancellationToken::new());
        let mut second = shared.join(batch(1, 5), Vec::new(), CancellationToken::new());
        let mut third = shared.join(batch(2, 3), Vec::new(), CancellationToken::new());
        assert_eq!((&mut first.told).now_or_never(), Some(Ok(Told::Lead)));
        assert_eq!((&mut second.told).now_or_never(), None);
        let (records, seats) = shared.depart();
        let partitions: Vec<i32> = records.iter().map(Entry::partition).collect();
        assert_eq!(partitions, [0, 0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(seats.iter().map(|seat| seat.records).collect::<Vec<_>>(), [4, 5]);
        assert_eq!((&mut third.told).now_or_never(), Some(Ok(Told::Lead)));
        // Whoever led without an answer leaves the others to themselves.
        drop(seats);
        assert!(matches!((&mut second.told).now_or_never(), Some(Err(_))));
        assert!(!second.leave(), "it is in work");
    }

    #[tokio::test]
    async fn where_the_first_leaves_the_next_one_leads() {
        let shared = Shared::new(limits(10));
        let first = shared.join(batch(0, 1), Vec::new(), CancellationToken::new());
        let second = shared.join(batch(1, 1), Vec::new(), CancellationToken::new());
        let mut third = shared.join(batch(2, 1), Vec::new(), CancellationToken::new());
        drop(second);
        assert_eq!((&mut third.told).now_or_never(), None);
        drop(first);
        assert_eq!((&mut third.told).now_or_never(), Some(Ok(Told::Lead)));
        assert_eq!(shared.depart().0.len(), 1);
    }

    #[tokio::test]
    async fn a_batch_above_the_limits_is_alone() {
        let shared = Shared::new(limits(2));
        let _first = shared.join(batch(0, 3), Vec::new(), CancellationToken::new());
        let _second = shared.join(batch(1, 1), Vec::new(), CancellationToken::new());
        assert_eq!(shared.depart().0.len(), 3);
    }

    #[test]
    fn partitions_are_called_when_they_have_an_event_together_or_the_first_window_has_passed() {
        let shared = Shared::new(limits(10));
        let [mut one, mut two, mut idle] = std::array::from_fn(|_| Gathering::new(shared.clone()));
        one.collects(some(6));
        assert_eq!(one.called().now_or_never(), None);
        two.collects(some(4));
        for gathering in [&mut one, &mut two, &mut idle] {
            assert_eq!(gathering.called().now_or_never(), Some(()));
        }
        assert!(one.is_called() && two.is_called() && !idle.is_called());
        one.hands_over(false);
        two.hands_over(false);
        assert!(!one.is_called());
        assert_eq!(two.called().now_or_never(), None, "who was called calls nobody");

        // One window has passed.
        one.collects(some(1));
        two.collects(some(1));
        one.hands_over(false);
        assert_eq!(two.called().now_or_never(), Some(()));
        assert_eq!(idle.called().now_or_never(), Some(()));
        assert_eq!(one.called().now_or_never(), None, "nor oneself");

        // A whole batch is one's own.
        two.hands_over(false);
        two.collects(some(1));
        one.collects(some(10));
        one.hands_over(true);
        assert_eq!(two.called().now_or_never(), None);
        // What has ended is not waited for.
        drop(two);
        idle.collects(some(9));
        assert_eq!(idle.called().now_or_never(), None);
    }
}
