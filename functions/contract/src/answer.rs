//! The answer of a function: output records, inputs that failed, inputs left out on purpose.
//! Every input record is accounted for exactly once by the function that builds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a function answers. All lists may be empty; empty lists are not written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    /// Records for the output topic, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<OutputRecord>,
    /// Inputs that could not be processed; each goes to the failure destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batch_item_failures: Vec<BatchItemFailure>,
    /// Inputs left out on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// One record to produce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    /// The record's key; it decides the partition.
    pub key: String,
    /// The record's value: an object is written as JSON, a string as text.
    pub value: Value,
    /// The record's headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A topic other than the function's output, where the manifest allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// Names one input record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemIdentifier {
    /// `<topic>-<partition>`, as in the event's `records`.
    pub partition: String,
    /// The record's offset.
    pub offset: i64,
}

/// An input that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The failed input.
    pub item_identifier: ItemIdentifier,
    /// What is wrong, as one word: it becomes the dead letter's `error-type`.
    pub error_type: String,
    /// What is wrong, for people: it becomes the dead letter's `error-message`.
    pub error_message: String,
}

/// An input left out on purpose, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// The input left out.
    pub item_identifier: ItemIdentifier,
    /// Why, as one word: `duplicate`.
    pub reason: String,
}

/// Why one input record cannot be processed, ever: retrying would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What is wrong, as one word.
    pub kind: &'static str,
    /// What is wrong, for people.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl Answer {
    /// Adds an output record whose value is `value` as JSON.
    pub fn emit(&mut self, key: impl Into<String>, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.records.push(OutputRecord {
            key: key.into(),
            value: serde_json::to_value(value)?,
            headers: BTreeMap::new(),
            topic: None,
        });
        Ok(())
    }

    /// Marks an input as failed.
    pub fn fail(&mut self, item_identifier: ItemIdentifier, failure: Failure) {
        self.batch_item_failures.push(BatchItemFailure {
            item_identifier,
            error_type: failure.kind.to_owned(),
            error_message: failure.message,
        });
    }

    /// Marks an input as left out on purpose.
    pub fn drop_item(&mut self, item_identifier: ItemIdentifier, reason: &str) {
        self.dropped.push(Dropped { item_identifier, reason: reason.to_owned() });
    }
}
