//! Values that were written by a schema of a registry, in Confluent's wire format, as JSON; and
//! back.
//!
//! What a function gets and answers is JSON, whatever is in the topic: [`Schema`] turns one into
//! the other for Avro, Protobuf and JSON Schema, and does no I/O; [`Registry`] fetches schemas, and
//! keeps them. The codecs are those of the formats' own crates; what is written here is how a value
//! looks in JSON, where the format does not say it.

mod avro;
mod bounded;
mod json_schema;
mod protobuf;
mod registry;
mod schema;
pub mod wire;
mod zigzag;

pub use registry::{NoSchema, Registry, Subject};
pub use schema::{Format, Invalid, Reference, Schema};
