//! How to reach a cluster, as librdkafka wants to hear it.
//!
//! Every client of Tidemill is made here, so that acknowledgements, idempotence and time-outs
//! are the same everywhere.

use crate::Security;
use rdkafka::{
    ClientConfig,
    admin::AdminClient,
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::FutureProducer,
};
use std::time::Duration;

/// How long a request to a broker may take before it has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a producer tries to have a record acknowledged; after that it is not sent any more.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest record that clients send or take, in bytes; the topic's own limit applies first.
const LARGEST_MESSAGE: u32 = 64 << 20;

/// A fetch is for the partitions whose queues have room at that moment; where none of them has
/// records, those with a backlog wait so long for the next one.
const FETCH_WAIT: Duration = Duration::from_millis(50);

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Connection {
    bootstrap: String,
    security: Security,
    fetch_wait: Duration,
}

/// Why Kafka could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// librdkafka refused the configuration.
    #[error("failed to set up a Kafka client for {bootstrap}")]
    Client {
        /// The servers it was for.
        bootstrap: String,
        /// librdkafka's reason.
        source: KafkaError,
    },
    /// A request failed.
    #[error("failed to {action}")]
    Request {
        /// What was asked.
        action: String,
        /// librdkafka's reason.
        source: KafkaError,
    },
    /// A topic could not be made or changed.
    #[error("failed to {action} topic {topic}: {code}")]
    Topic {
        /// What was asked.
        action: &'static str,
        /// The topic.
        topic: String,
        /// The broker's answer.
        code: rdkafka::types::RDKafkaErrorCode,
    },
}

impl Connection {
    /// A cluster without authentication or encryption; `bootstrap` is `host:port,…`.
    #[must_use]
    pub fn plaintext(bootstrap: impl Into<String>) -> Self {
        Self::secured(bootstrap, Security::default())
    }

    /// A cluster that wants to know who comes, or that is reached over TLS.
    #[must_use]
    pub fn secured(bootstrap: impl Into<String>, security: Security) -> Self {
        Self { bootstrap: bootstrap.into(), security, fetch_wait: FETCH_WAIT }
    }

    /// The same with fetches that wait longer for records, where asking often costs too much.
    #[must_use]
    pub fn with_fetch_wait(self, fetch_wait: Duration) -> Self {
        Self { fetch_wait, ..self }
    }

    /// How long a group member's fetch waits at the broker where there are no records.
    #[must_use]
    pub fn fetch_wait(&self) -> Duration {
        self.fetch_wait
    }

    /// `host:port,…`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What every client has in common.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "tidemill")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("message.max.bytes", LARGEST_MESSAGE.to_string())
            .set("log_level", "4");
        self.security.apply(&mut config);
        config
    }

    /// What producers have in common: idempotent, acks=all, 16 KiB batches, 1 ms linger.
    #[must_use]
    pub fn producer_config(&self) -> ClientConfig {
        let mut config = self.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("batch.size", "16384")
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.kbytes", "65536")
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string());
        config
    }

    /// A producer; each delivery reports when the broker has it.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn producer(&self) -> Result<FutureProducer, Error> {
        self.producer_config().create().map_err(|source| self.refused(source))
    }

    /// An admin client.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Error> {
        self.client_config().create().map_err(|source| self.refused(source))
    }

    /// A consumer that asks for offsets and metadata of `group` without joining it.
    ///
    /// # Errors
    /// When librdkafka refuses the configuration.
    pub fn observer(&self, group: &str) -> Result<BaseConsumer, Error> {
        self.client_config()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .map_err(|source| self.refused(source))
    }

    /// The cluster's topics, partitions and brokers.
    ///
    /// # Errors
    /// When no broker answers in time.
    pub fn metadata(&self, topic: Option<&str>) -> Result<rdkafka::metadata::Metadata, Error> {
        let consumer = self.observer("tidemill.metadata")?;
        consumer
            .fetch_metadata(topic, PATIENCE)
            .map_err(|source| Error::Request { action: format!("ask {} for metadata", self.bootstrap), source })
    }

    fn refused(&self, source: KafkaError) -> Error {
        Error::Client { bootstrap: self.bootstrap.clone(), source }
    }
}
