//! What the runner, the operator and the command line share of Kafka.
//!
//! Besides the runner, the only crate that links librdkafka.

mod connection;
mod lag;
mod topics;

pub use connection::{Connection, Error, PATIENCE};
pub use lag::{GroupLag, GroupObserver, PartitionLag};
pub use rdkafka;
pub use topics::{Ensured, TopicTarget, ensure_topics, topic_partitions};
