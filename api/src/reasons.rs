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

/// The brokers answer.
pub const CONNECTED: &str = "Connected";
/// The brokers are being asked.
pub const CONNECTING: &str = "Connecting";
/// No broker answers.
pub const CLUSTER_UNREACHABLE: &str = "ClusterUnreachable";
/// All that the manifest names is there.
pub const VALID: &str = "Valid";
/// At least one replica takes records.
pub const RUNNING: &str = "Running";
/// At zero replicas, waiting for records or for the clock.
pub const IDLE: &str = "Idle";
/// Replicas are wanted and none takes records yet.
pub const STARTING: &str = "Starting";
/// An image cannot be pulled.
pub const IMAGE_UNAVAILABLE: &str = "ImageUnavailable";
/// A pod finds no node.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// An object of that name belongs to someone else.
pub const NAME_TAKEN: &str = "NameTaken";
/// The topic is as declared.
pub const IN_SYNC: &str = "InSync";
/// Kafka refused a change of the topic.
pub const REFUSED_BY_KAFKA: &str = "RefusedByKafka";
/// The schema registry refused the schema.
pub const SCHEMA_REFUSED: &str = "SchemaRefused";
/// The schema registry does not answer.
pub const REGISTRY_UNREACHABLE: &str = "RegistryUnreachable";
/// Firings of a schedule that were due while nobody could fire them.
pub const MISSED_RUNS: &str = "MissedRuns";
/// The replica count was changed.
pub const SCALED: &str = "Scaled";
/// A topic was made.
pub const TOPIC_CREATED: &str = "TopicCreated";
/// A topic's settings were put back to what is declared.
pub const DRIFT_CORRECTED: &str = "DriftCorrected";
