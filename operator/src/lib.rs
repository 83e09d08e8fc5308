//! The operator: reconciles `Function`, `KafkaCluster` and `Topic`.
//!
//! Each kind has a folder whose `mod.rs` reads as its table of contents. What a reconcile needs
//! of the cluster comes from watches ([`stores`]), what it needs of Kafka from one observer for
//! each Kafka cluster ([`observer`]); nothing asks the API server for what a watch could tell.
//! Only the holder of the Lease ([`lease`]) reconciles, so that there is one writer.

pub mod cluster;
pub mod clusters;
pub mod conditions;
pub mod context;
pub mod function;
pub mod joining;
pub mod journal;
pub mod lease;
pub mod load;
pub mod metrics;
pub mod observer;
pub mod run;
pub mod schedule;
pub mod stores;
pub mod topic;
