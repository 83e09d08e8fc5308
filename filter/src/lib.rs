//! `EventBridge` event patterns over the value, the key and the headers of a Kafka record.
//!
//! Semantics: AWS's "Amazon EventBridge event patterns" and "Lambda event filtering", and where
//! those are silent, Event Ruler. The nearest crate, `quamina`, matches whole JSON objects only and
//! has no `$or`, no plain texts and no errors that name a field, so the matcher is our own.
//!
//! Pure: a list of patterns is compiled once, a match allocates nothing but the parsed JSON of the
//! record, and takes time in proportion to the record and the patterns, which have a limited size.

mod compile;
mod ignore_case;
mod leaf;
mod number;
mod operators;
mod record;
mod surrogates;
mod test;
mod tree;
mod wildcard;

use compile::Compiler;
use record::{Parsed, RecordPattern};
use serde_json::Value;

/// The most patterns in a list.
pub const MOST_PATTERNS: usize = 20;
/// The most levels of objects in a pattern.
pub const DEEPEST: usize = 32;
/// The most alternatives in all leaves of all patterns together.
pub const MOST_ALTERNATIVES: usize = 1000;
/// The most bytes in a text of a pattern.
pub const LONGEST_TEXT: usize = 1024;
/// The most leaves of a pattern's `value` or `key` that accept an absent field.
pub const MOST_ABSENCES: usize = 64;

/// Compiled patterns: a record passes if it matches any, or if there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(Vec<RecordPattern>);

/// Why a list of patterns is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct Error {
    /// Where, as a JSON pointer from the list, such as `/0/value/price/1`.
    pub pointer: String,
    /// What is wrong there, and what to write.
    pub message: String,
}

impl Filters {
    /// Compiles a list of patterns.
    ///
    /// # Errors
    /// The first place that is not understood, and what to write there.
    pub fn compile(patterns: &[Value]) -> Result<Self, Error> {
        Compiler::default().patterns(patterns).map(Self)
    }

    /// Whether a record is for the function.
    ///
    /// The headers are looked through once for each name in a pattern, hence `Clone`.
    pub fn passes<'a>(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone,
    ) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let (key, value) = (Parsed::new(key), Parsed::new(value));
        self.0.iter().any(|pattern| pattern.matches(&key, &value, &headers))
    }

    /// Whether every record passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
