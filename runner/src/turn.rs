//! Batches in the order of their partition, where the function works on one while the outputs of
//! the one before are on their way.
//!
//! A batch hands over when the function has answered for all of it. The next is invoked then, and
//! its effects wait until the batch before has settled. Where the brokers refuse outputs, their
//! batch is invoked again, and so is, after that, what was invoked early: the last answer for each
//! batch was given after the last one for those before it.

use crate::pipeline::Unsettled;
use std::time::Duration;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

/// A batch's place among those of its partition.
#[derive(Debug, Default)]
pub struct Turn {
    before: Option<watch::Receiver<Stage>>,
    own: watch::Sender<Stage>,
    resting: watch::Sender<usize>,
    late: Vec<CancellationToken>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    /// The function has answered for all of it.
    answered: bool,
    /// It was called again after that.
    again: bool,
    /// Each record has its outcome.
    settled: bool,
}

/// A batch as the next one sees it.
#[derive(Clone, Debug)]
pub struct Before(watch::Receiver<Stage>);

impl Before {
    /// Waits until the next batch may be invoked; for ever, where this one ends before.
    pub async fn handed_over(&mut self) {
        if self.0.wait_for(|stage| stage.answered).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Turn {
    /// The place after that batch, where there is one; `resting` is how many of the partition rest
    /// between two attempts, for whoever could work meanwhile; `late` is cancelled when nothing more
    /// may be sent.
    #[must_use]
    pub fn after(before: Option<Before>, resting: watch::Sender<usize>, late: CancellationToken) -> Self {
        Self { before: before.map(|before| before.0), own: watch::Sender::default(), resting, late: vec![late] }
    }

    /// What has no place of its own, and is late when any of these is.
    #[must_use]
    pub fn of_all<'a>(turns: impl IntoIterator<Item = &'a [CancellationToken]>) -> Self {
        Self { late: turns.into_iter().flatten().cloned().collect(), ..Self::default() }
    }

    /// Whether what is sent now could still be on its way when the partition has its next owner.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late.iter().any(CancellationToken::is_cancelled)
    }

    /// Cancelled when nothing more may be sent.
    #[must_use]
    pub fn late(&self) -> &[CancellationToken] {
        &self.late
    }

    /// For the next batch.
    #[must_use]
    pub fn before_next(&self) -> Before {
        Before(self.own.subscribe())
    }

    /// Whether the batch before has not settled yet.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.before.as_ref().is_some_and(|before| !before.borrow().settled)
    }

    /// Whether whatever is answered now would not count: the batch before is called again.
    #[must_use]
    pub fn is_in_vain(&self) -> bool {
        let again = |stage: Stage| stage.again && !stage.settled;
        self.before.as_ref().is_some_and(|before| again(*before.borrow()))
    }

    /// Waits until the batch before has settled; answers whether it was not called again meanwhile.
    ///
    /// # Errors
    /// When that has ended without an outcome, as it does when it is stopped.
    pub async fn come(&self) -> Result<bool, Unsettled> {
        let Some(mut before) = self.before.clone() else { return Ok(true) };
        let settled = before.wait_for(|stage| stage.settled).await;
        settled.map(|stage| !stage.again).map_err(|_| Unsettled::Stopped)
    }

    /// Waits between two attempts, while others may work.
    ///
    /// # Errors
    /// When told to stop meanwhile.
    pub async fn rest(&self, pause: Duration, stop: &CancellationToken) -> Result<(), Unsettled> {
        self.resting.send_modify(|resting| *resting += 1);
        let result = tokio::select! {
            () = stop.cancelled() => Err(Unsettled::Stopped),
            () = sleep(pause) => Ok(()),
        };
        self.resting.send_modify(|resting| *resting -= 1);
        result
    }

    /// The function has answered for all of the batch: the next may be invoked.
    pub fn hand_over(&self) {
        self.own.send_modify(|stage| stage.answered = true);
    }

    /// What it answered is refused: it is called again.
    pub fn take_back(&self) {
        self.own.send_modify(|stage| stage.again = stage.answered);
    }

    /// Each of its records has its outcome.
    pub fn settled(&self) {
        self.own.send_modify(|stage| stage.settled = true);
    }
}

#[cfg(test)]
mod tests {
    use super::{Before, Turn};
    use crate::pipeline::Unsettled;
    use futures::FutureExt;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    fn after(before: Before) -> Turn {
        Turn::after(Some(before), watch::Sender::default(), CancellationToken::new())
    }

    #[tokio::test]
    async fn the_next_is_invoked_when_one_is_answered_and_has_effects_when_it_is_settled() {
        let first = Turn::default();
        assert!(!first.is_early());
        assert!(matches!(first.come().await, Ok(true)), "nobody is before it");
        let mut before = first.before_next();
        assert!(before.handed_over().now_or_never().is_none());
        first.hand_over();
        before.handed_over().await;
        let second = after(before);
        assert!(second.is_early());
        assert!(second.come().now_or_never().is_none());
        first.settled();
        assert!(!second.is_early());
        assert!(matches!(second.come().await, Ok(true)));
    }

    #[tokio::test]
    async fn an_answer_counts_only_where_nothing_before_it_was_called_again() {
        let first = Turn::default();
        // Called again before it has handed over: nobody was early.
        first.take_back();
        first.hand_over();
        let second = after(first.before_next());
        first.settled();
        assert!(matches!(second.come().await, Ok(true)));

        let first = Turn::default();
        let second = after(first.before_next());
        first.hand_over();
        assert!(!second.is_in_vain());
        first.take_back();
        assert!(second.is_in_vain());
        first.settled();
        assert!(!second.is_in_vain());
        assert!(matches!(second.come().await, Ok(false)));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_batch_that_has_ended_without_an_outcome() {
        let first = Turn::default();
        let mut before = first.before_next();
        let second = after(before.clone());
        drop(first);
        assert!(matches!(second.come().await, Err(Unsettled::Stopped)));
        assert!(before.handed_over().now_or_never().is_none());
    }
}
