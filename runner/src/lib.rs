//! The runner: consumes Kafka, serves the Lambda Runtime API, produces what functions answer.
//!
//! # Why no record is lost
//!
//! A record leaves the consumer group's backlog when its offset is committed. [`commits`] commits
//! only offsets that were stored (`enable.auto.offset.store=false`), and [`partition`] stores the
//! [`watermark`]: the last offset up to which [`pipeline`]'s `settle` has done with every record,
//! however batches of other keys have overtaken each other ([`lanes`]), whatever shares an invocation
//! ([`shared`]) or is invoked before
//! its turn ([`turn`]) and whatever rests before another attempt ([`resting`]) or is left when the
//! runner stops: that it gives back by name. It has done with a record only when the function has
//! answered for it and the answer's records are acknowledged by all in-sync replicas, or when it is
//! acknowledged by the failure destination, or was filtered out. Whatever ends the process in
//! between, at any instruction, leaves the offset where it was, and the partition's next owner reads
//! on from there: at least once. A partition that is given back is drained and committed first, so
//! that records come twice only around a failure, and where they have overtaken one that rests. Under
//! `exactlyOnce` outputs, dead letters and the offset are one transaction ([`transactions`]), so
//! that what is read again was never seen.

pub mod ahead;
pub mod answer;
pub mod api_thread;
pub mod archive;
pub mod attempt;
pub mod beginning;
pub mod caller;
pub mod commits;
pub mod config;
pub mod consumer;
pub mod dead_letter;
pub mod decode;
pub mod encode;
pub mod entry;
pub mod event;
pub mod failure;
pub mod health;
pub mod invocation;
pub mod joining;
pub mod lanes;
pub mod membership;
pub mod metrics;
pub mod output;
pub mod package;
pub mod partition;
pub mod pauses;
pub mod pipeline;
pub mod pool;
pub mod process;
pub mod record;
pub mod refused;
pub mod report;
pub mod response;
pub mod resting;
pub mod retry;
pub mod route;
pub mod runtime_api;
pub mod schedule;
pub mod serve;
pub mod shared;
pub mod sidecar;
pub mod stats;
pub mod transactions;
pub mod turn;
pub mod watermark;
