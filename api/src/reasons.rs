//! Condition types and reasons, as dashboards and alerts match them.

/// The manifest can be carried out.
pub const ACCEPTED: &str = "Accepted";
/// The function can take records.
pub const READY: &str = "Ready";
/// The function has replicas.
pub const ACTIVE: &str = "Active";

/// A rule of the manifest is broken.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// The `KafkaCluster` is not there, or not for this namespace.
pub const CLUSTER_NOT_FOUND: &str = "ClusterNotFound";
/// A topic of the trigger is not there.
pub const TOPIC_NOT_FOUND: &str = "TopicNotFound";
/// A secret is not there, or lacks a key.
pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// The function's program cannot be found or started.
pub const BINARY_NOT_FOUND: &str = "BinaryNotFound";
/// The function's process ends before it asks for work.
pub const INIT_FAILED: &str = "InitFailed";
/// Where it runs cannot do what the manifest asks for.
pub const UNSUPPORTED: &str = "Unsupported";
