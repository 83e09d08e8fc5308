//! The custom resources of `tidemill.dev/v1alpha1`, their validation and the plan drawn from them.
//!
//! No I/O: the operator, `tidemill up` and `tidemill validate` all read the same types and refuse
//! the same manifests with the same words.

pub mod check;
mod cluster;
mod delivery;
mod field;
mod function;
pub mod manifest;
pub mod plan;
mod quantity;
pub mod reasons;
pub mod rules;
mod scaling;
mod topic;
mod trigger;

pub use cluster::{
    KafkaCluster, KafkaClusterSpec, KafkaClusterStatus, Sasl, SaslMechanism, SchemaRegistry, SecretKeyRef, Tls,
};
pub use delivery::{Backoff, Delivery, OnFailure, Output, Retry, S3Destination};
pub use function::{Function, FunctionSpec, FunctionStatus, Package, S3Object};
pub use quantity::{ByteSize, Duration, QuantityError};
pub use scaling::Scaling;
pub use topic::{Compatibility, DeletionPolicy, SchemaType, Topic, TopicSpec, TopicStatus, ValueSchema};
pub use trigger::{Batch, KafkaTrigger, Ordering, RecordPart, ScheduleTrigger, Start, Trigger};

/// The API group of every resource.
pub const GROUP: &str = "tidemill.dev";
/// The API version of every resource.
pub const VERSION: &str = "v1alpha1";

/// Annotations that users set.
pub mod annotations {
    /// `"true"`: hold the replica count where it is.
    pub const PAUSED: &str = "tidemill.dev/paused";
    /// A number: hold the replica count there.
    pub const PAUSED_REPLICAS: &str = "tidemill.dev/paused-replicas";
    /// What `tidemill up` runs for this function instead of the program named like its image:
    /// a command line, looked up beside the manifest first, then on the path.
    pub const LOCAL_COMMAND: &str = "tidemill.dev/local-command";
}
