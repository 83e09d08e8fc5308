//! What the runner, the operator and the command line share of Kafka.
//!
//! Besides the runner, the only crate that links librdkafka.

mod bookmark;
mod connection;
mod lag;
mod log_offsets;
mod member;
mod offsets;
mod probe;
mod queue;
mod reader;
mod security;
mod start;
mod topic_config;
mod topics;
mod watch;

pub use bookmark::Bookmark;
pub use connection::{Connection, DELIVERY_TIMEOUT, Error, PATIENCE};
pub use lag::{Asked, ClusterObserver, Group, GroupLag, PartitionLag, Unknown};
pub use member::member_epoch;
pub use queue::{Headers, Message, PartitionQueue, headers};
pub use rdkafka;
pub use reader::{Spans, TopicReader, topic_spans, topic_spans_of};
pub use security::{Sasl, Security, Tls};
pub use start::{Begin, begin_group};
pub use topic_config::{correct_config, delete_topic};
pub use topics::{Ensured, TopicTarget, dead_letters_of, ensure_topics, topic_partitions};
pub use watch::{Place, RecordWatch};
