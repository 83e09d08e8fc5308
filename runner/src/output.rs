//! Records on their way out: acknowledged by the brokers, or not done.
//!
//! An error that time may heal is tried again for as long as the runner lives, since the input
//! is not committed before; only what the brokers refuse for good is given back.

use crate::record::OutRecord;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer},
};
use std::{future::Future, time::Duration};
use tidemill_kafka::Connection;
use tokio::time::sleep;

/// Until a full queue is tried again.
const QUEUE_FULL: Duration = Duration::from_millis(2);

/// Where produced records go.
pub trait Sink: Send + Sync + 'static {
    /// Produces all of the records, in order, and returns when all are durable.
    fn produce(&self, records: &[OutRecord]) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Why records are not durable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The brokers will never take one of them.
    #[error("topic {topic} refuses a record of {bytes} bytes: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// Bytes of key and value.
        bytes: usize,
        /// The broker's reason.
        reason: String,
    },
    /// The brokers did not take them yet.
    #[error("topic {topic} does not take records: {reason}")]
    Unavailable {
        /// The topic.
        topic: String,
        /// The broker's or the client's reason.
        reason: String,
    },
    /// The producer cannot go on; the process must start again.
    #[error("the producer has failed for good: {0}")]
    Fatal(String),
}

/// Kafka as a sink.
pub struct KafkaSink(FutureProducer);

impl KafkaSink {
    /// The same without the millisecond in which a producer waits for more: for functions whose
    /// batches wait for nothing either.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn prompt(connection: &Connection) -> Result<Self, tidemill_kafka::Error> {
        let created = connection.producer_config().set("linger.ms", "0").create();
        created
            .map(Self)
            .map_err(|source| tidemill_kafka::Error::Client { bootstrap: connection.bootstrap().to_owned(), source })
    }

    /// An idempotent producer for the cluster.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn new(connection: &Connection) -> Result<Self, tidemill_kafka::Error> {
        connection.producer().map(Self)
    }
}

impl From<FutureProducer> for KafkaSink {
    fn from(producer: FutureProducer) -> Self {
        Self(producer)
    }
}

impl Sink for KafkaSink {
    async fn produce(&self, records: &[OutRecord]) -> Result<(), Error> {
        let mut first_error = None;
        for error in self.produce_each(records).await.into_iter().filter_map(Result::err) {
            // A record that is refused for good outweighs one that may yet be taken.
            let outweighs = matches!(error, Error::Refused { .. } | Error::Fatal(_));
            if outweighs || first_error.is_none() {
                first_error = Some(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl KafkaSink {
    /// Produces all of the records, in order, and answers what became of each.
    pub async fn produce_each(&self, records: &[OutRecord]) -> Vec<Result<(), Error>> {
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            sent.push(self.enqueue(record).await);
        }
        let mut outcomes = Vec::with_capacity(records.len());
        for (record, queued) in records.iter().zip(sent) {
            outcomes.push(match queued {
                Err(error) => Err(error),
                Ok(delivery) => match delivery.await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err((error, _))) => Err(self.classify(record, &error)),
                    Err(_cancelled) => Err(self.classify(record, &KafkaError::Canceled)),
                },
            });
        }
        outcomes
    }

    /// Puts the record into the producer's queue, after those before it; waits while it is full.
    async fn enqueue(&self, record: &OutRecord) -> Result<DeliveryFuture, Error> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            });
        let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&record.topic).headers(headers);
        message.partition = record.partition;
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        loop {
            match self.0.send_result(message) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    message = back;
                    sleep(QUEUE_FULL).await;
                }
                Err((error, _)) => return Err(self.classify(record, &error)),
            }
        }
    }

    fn classify(&self, record: &OutRecord, error: &KafkaError) -> Error {
        if let Some((code, reason)) = self.0.client().fatal_error() {
            return Error::Fatal(format!("{code}: {reason}"));
        }
        let topic = record.topic.clone();
        let reason = error.to_string();
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PolicyViolation
                | RDKafkaErrorCode::InvalidTimestamp,
            ) => {
                let bytes = record.key.as_ref().map_or(0, bytes::Bytes::len)
                    + record.value.as_ref().map_or(0, bytes::Bytes::len);
                Error::Refused { topic, bytes, reason }
            }
            _ => Error::Unavailable { topic, reason },
        }
    }
}
