//! The runner: consumes Kafka, serves the Lambda Runtime API, produces what functions answer.
//!
//! # Why no record is lost
//!
//! A record leaves the consumer group's backlog when its offset is committed. librdkafka commits
//! only offsets that were stored (`enable.auto.offset.store=false`), [`partition`] stores an
//! offset only after [`pipeline`]'s `settle` has returned `Ok` for the whole batch up to it, and
//! `settle` returns `Ok` only when each record was answered for by the function and the answer's
//! records are acknowledged by all in-sync replicas, or when it is acknowledged by the failure
//! destination. One task reads a partition, one batch at a time, so an offset never overtakes
//! an earlier record. Whatever ends the process in between, at any instruction, leaves the offset
//! where it was, and the partition's next owner reads the batch again: at least once, and twice
//! only around a failure, since a partition that is given back is drained and committed first.

pub mod answer;
pub mod archive;
pub mod config;
pub mod consumer;
pub mod dead_letter;
pub mod event;
pub mod invocation;
pub mod joining;
pub mod lanes;
pub mod membership;
pub mod output;
pub mod package;
pub mod partition;
pub mod pipeline;
pub mod pool;
pub mod process;
pub mod record;
pub mod report;
pub mod retry;
pub mod runtime_api;
pub mod schedule;
pub mod serve;
pub mod sidecar;
pub mod stats;
pub mod transactions;
pub mod watermark;
