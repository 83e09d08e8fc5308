//! One task for each assigned partition: collect a batch, settle it, store its offset.
//!
//! The offset is stored after `settle` has returned, never before; librdkafka commits stored
//! offsets only. Records that were collected and not settled are read again by the next owner.

use crate::{
    batch::Batch,
    consumer::{Consumer, Queue},
    output::Sink,
    pipeline::{Pipeline, Unsettled},
    record::Record,
};
use futures::FutureExt;
use rdkafka::consumer::Consumer as _;
use std::{sync::Arc, time::Duration};
use tidemill_api::Batch as Limits;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Between two attempts to read from a partition that gives an error.
const PAUSE: Duration = Duration::from_millis(100);
/// Every so many of them is logged.
const TOLD: u32 = 100;

/// The task of one partition.
pub struct Partition<S> {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub number: i32,
    /// Its records.
    pub queue: Queue,
    /// What stores its offsets.
    pub consumer: Arc<Consumer>,
    /// What settles its batches.
    pub pipeline: Arc<Pipeline<S>>,
    /// The limits of a batch.
    pub limits: Limits,
    /// Cancelled when it should finish what it has begun, and end.
    pub stop: CancellationToken,
    /// Cancelled here when the whole runner must start again.
    pub failed: CancellationToken,
}

impl<S: Sink> Partition<S> {
    /// Works until told to stop.
    pub async fn run(self) {
        let mut held = None;
        while let Some(records) = self.collect(&mut held).await {
            let Some(last) = records.last().map(|record| record.offset) else { continue };
            if !self.settle(records).await {
                return;
            }
            if let Err(error) = self.consumer.store_offset(&self.topic, self.number, last) {
                // The partition was lost while its batch was settled: its next owner repeats it.
                warn!(topic = self.topic, partition = self.number, offset = last, %error, "offset not stored");
            }
        }
    }

    /// Whether the records were settled; `false` ends the task.
    async fn settle(&self, records: Vec<Record>) -> bool {
        match self.pipeline.settle(records, &self.stop).await {
            Ok(()) => true,
            Err(Unsettled::Stopped) => false,
            Err(Unsettled::Producer(error)) => {
                error!(%error, "the runner must start again");
                self.failed.cancel();
                false
            }
        }
    }

    /// The next batch; `None` when told to stop.
    async fn collect(&self, held: &mut Option<Record>) -> Option<Vec<Record>> {
        let first = match held.take() {
            _ if self.stop.is_cancelled() => return None,
            Some(record) => record,
            None => tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                record = self.read() => record,
            },
        };
        let mut batch = Batch::default();
        let refused = batch.push(first, &self.limits);
        debug_assert!(refused.is_none(), "an empty batch takes any record");
        let window = self.limits.window.get();
        let close = Instant::now() + window;
        while !batch.is_full(&self.limits) {
            let next = if self.stop.is_cancelled() {
                return None;
            } else if window.is_zero() {
                self.read().now_or_never()
            } else {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return None,
                    next = timeout_at(close, self.read()) => next.ok(),
                }
            };
            let Some(record) = next else { break };
            if let Some(record) = batch.push(record, &self.limits) {
                *held = Some(record);
                break;
            }
        }
        Some(batch.into_records())
    }

    /// The next record; errors are logged and waited out.
    async fn read(&self) -> Record {
        let mut pauses = 0_u32;
        loop {
            match self.queue.recv().await {
                Ok(message) => return Record::copy(&message),
                Err(error) => {
                    metrics::counter!("tidemill_runner_fetch_errors_total").increment(1);
                    if pauses.is_multiple_of(TOLD) {
                        warn!(topic = self.topic, partition = self.number, %error, "no records can be read");
                    }
                    pauses += 1;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}
