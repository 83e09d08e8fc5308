//! Where a partition that was assigned is read from: never before what the group has committed.
//!
//! librdkafka may have read it since an earlier assignment. Where that ended while it was asking where the log
//! begins, for a group that had committed nothing yet, the answer comes too late, and librdkafka (2.12) asks
//! again and reads the partition without having it. What it has read waits in the partition's queue, and would
//! come first. Where that answer comes only after the partition is assigned again, librdkafka goes back in the
//! middle: the partition's task sees that records come which it has had, and the runner starts again.

use crate::{consumer::Consumer, pauses::Pauses, pipeline::Unsettled};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long one call may take.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Calls at once, of all partitions: each has a thread meanwhile.
static CALLS: Semaphore = Semaphore::const_new(16);

/// Where to read a partition from.
pub struct Beginning {
    consumer: Arc<Consumer>,
    topic: Arc<str>,
    partition: i32,
    /// What the group has committed, until that is made sure of.
    committed: Option<i64>,
}

impl Beginning {
    /// Asks for what the group has committed. Mostly librdkafka has its own answer by then, and gives what it had
    /// read before that to nobody.
    ///
    /// # Errors
    /// When told to stop before there is an answer.
    pub async fn ask(
        consumer: &Arc<Consumer>,
        topic: &Arc<str>,
        partition: i32,
        stop: &CancellationToken,
    ) -> Result<Self, Unsettled> {
        let mut beginning = Self { consumer: consumer.clone(), topic: topic.clone(), partition, committed: None };
        beginning.committed = beginning.call("asked for the group's place", stop, committed).await?;
        Ok(beginning)
    }

    /// Whether the first record that comes is one to begin with. Where it is not, it has librdkafka read from what is
    /// committed; whatever comes then is right: the log may have been cut. (One that was cut below that place, and
    /// has grown past it again while this is asked, is read from there.)
    ///
    /// # Errors
    /// When told to stop before that.
    pub async fn begins_at(&mut self, offset: i64, stop: &CancellationToken) -> Result<bool, Unsettled> {
        let Some(committed) = self.committed.take().filter(|committed| offset < *committed) else { return Ok(true) };
        let (topic, partition) = (&*self.topic, self.partition);
        warn!(
            topic,
            partition, offset, committed, "records of an earlier assignment are left: reading what is committed"
        );
        let seek = move |consumer: &Consumer, topic: &str, partition| {
            consumer.seek(topic, partition, Offset::Offset(committed), PATIENCE)
        };
        self.call("gone to the group's place", stop, seek).await?;
        Ok(false)
    }

    /// Calls until that succeeds.
    async fn call<T: Send + 'static>(
        &self,
        what: &str,
        stop: &CancellationToken,
        call: impl Fn(&Consumer, &str, i32) -> KafkaResult<T> + Copy + Send + 'static,
    ) -> Result<T, Unsettled> {
        let mut pauses = Pauses::default();
        loop {
            let (consumer, topic, partition) = (self.consumer.clone(), self.topic.clone(), self.partition);
            let called = async {
                let turn = CALLS.acquire().await.expect("it is never closed");
                spawn_blocking(move || {
                    // For as long as the thread is taken, also where nobody waits any more.
                    let _turn = turn;
                    call(&consumer, &topic, partition)
                })
                .await
            };
            let error = tokio::select! {
                () = stop.cancelled() => return Err(Unsettled::Stopped),
                called = called => match called.expect("calls do not panic") {
                    Ok(called) => return Ok(called),
                    Err(error) => error,
                },
            };
            warn!(topic = &*self.topic, partition, %error, retry_in = ?pauses.length(), "not {what} yet");
            pauses.wait(stop).await?;
        }
    }
}

/// What the group has committed, if anything.
fn committed(consumer: &Consumer, topic: &str, partition: i32) -> KafkaResult<Option<i64>> {
    let mut places = TopicPartitionList::new();
    places.add_partition(topic, partition);
    let places = consumer.committed_offsets(places, PATIENCE)?;
    let place = places.find_partition(topic, partition);
    place.map_or(Ok(None), |place| {
        place.error()?;
        Ok(match place.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        })
    })
}
