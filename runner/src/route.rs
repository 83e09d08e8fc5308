//! Where the effects of a batch go, tried until they are there.

use crate::{
    output::{self, Sink},
    pauses::Pauses,
    pipeline::Unsettled,
    record::OutRecord,
    stats::{Counted, Tally},
    turn::Turn,
};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How long a partition is held before the failure destination is asked again to take a record
/// that it refused.
const HOLD: Duration = Duration::from_secs(15);

/// Where the effects of a batch go, and who counts them.
pub struct Route<'a, S> {
    /// Records that the function answered.
    pub outputs: &'a S,
    /// Records that failed.
    pub dead_letters: &'a S,
    /// What is counted.
    pub tally: &'a dyn Tally,
    /// Its place among the batches of its partition.
    pub turn: &'a Turn,
}

/// Why records are not durable.
enum Persist {
    /// The brokers will never take one of them.
    Refused(output::Error),
    /// It stopped before.
    Unsettled(Unsettled),
}

impl<S: Sink> Route<'_, S> {
    /// Produces until the brokers have it; the inner error is a refusal for good.
    ///
    /// # Errors
    /// When it stopped before that.
    pub async fn produce(
        &self,
        records: &[OutRecord],
        stop: &CancellationToken,
    ) -> Result<Result<(), output::Error>, Unsettled> {
        if records.is_empty() {
            return Ok(Ok(()));
        }
        match self.persist(self.outputs, records, stop).await {
            Ok(()) => {
                self.tally.count(Counted::Produced, records.len());
                Ok(Ok(()))
            }
            Err(Persist::Refused(error)) => Ok(Err(error)),
            Err(Persist::Unsettled(unsettled)) => Err(unsettled),
        }
    }

    /// Produces dead letters; their partition is held for as long as they are refused.
    ///
    /// # Errors
    /// When it stopped before the brokers have them.
    pub async fn bury(&self, letters: &[OutRecord], stop: &CancellationToken) -> Result<(), Unsettled> {
        loop {
            match self.persist(self.dead_letters, letters, stop).await {
                Ok(()) => return Ok(()),
                Err(Persist::Unsettled(unsettled)) => return Err(unsettled),
                Err(Persist::Refused(refused)) => held(&refused, stop).await?,
            }
        }
    }

    /// Produces until the brokers have the records.
    async fn persist(&self, sink: &S, records: &[OutRecord], stop: &CancellationToken) -> Result<(), Persist> {
        let mut pauses = Pauses::default();
        loop {
            if self.turn.is_late() {
                return Err(Persist::Unsettled(Unsettled::Stopped));
            }
            match sink.produce(records).await {
                Ok(()) => return Ok(()),
                Err(error @ output::Error::Refused { .. }) => return Err(Persist::Refused(error)),
                Err(error @ output::Error::Fatal(_)) => return Err(Persist::Unsettled(Unsettled::Producer(error))),
                Err(error @ output::Error::Unavailable { .. }) => {
                    warn!(%error, retry_in = ?pauses.length(), "records are not produced yet");
                    pauses.wait(stop).await.map_err(Persist::Unsettled)?;
                }
            }
        }
    }
}

/// The failure destination refuses a record: waits until it is asked again.
///
/// # Errors
/// When told to stop before.
pub async fn held(refused: &output::Error, stop: &CancellationToken) -> Result<(), Unsettled> {
    error!(
        error = %refused,
        retry_in = ?HOLD,
        "the failure destination refuses a record, so its partition is held: raise the topic's max.message.bytes"
    );
    metrics::counter!("tidemill_runner_partition_holds_total").increment(1);
    tokio::select! {
        () = stop.cancelled() => Err(Unsettled::Stopped),
        () = sleep(HOLD) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Route;
    use crate::{
        output::{Error, Sink},
        pipeline::Unsettled,
        record::OutRecord,
        stats::Stats,
        turn::Turn,
    };
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    #[derive(Default)]
    struct Sent(AtomicUsize);

    impl Sink for Sent {
        async fn produce(&self, records: &[OutRecord]) -> Result<(), Error> {
            self.0.fetch_add(records.len(), Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_that_would_arrive_behind_the_next_owner() {
        let (sink, stats, late, stop) =
            (Sent::default(), Stats::default(), CancellationToken::new(), CancellationToken::new());
        let turn = Turn::after(None, watch::Sender::default(), late.clone());
        let route = Route { outputs: &sink, dead_letters: &sink, tally: &stats, turn: &turn };
        let records = [OutRecord::default()];
        stop.cancel();
        assert!(matches!(route.produce(&records, &stop).await, Ok(Ok(()))), "what has begun may end");
        late.cancel();
        assert!(matches!(route.produce(&records, &stop).await, Err(Unsettled::Stopped)));
        assert!(matches!(route.bury(&records, &stop).await, Err(Unsettled::Stopped)));
        assert_eq!((sink.0.into_inner(), stats.watch().borrow().out), (1, 1));
    }
}
