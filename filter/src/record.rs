//! A pattern over a whole record: what it says of the value, the key and the headers must all be so.

use crate::{leaf::Leaf, surrogates, test::Scalar, tree::Tree};
use serde_json::Value;
use std::cell::OnceCell;

/// What must be so of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordPattern {
    pub headers: Option<HeadersPattern>,
    pub key: Option<Content>,
    pub value: Option<Content>,
    /// One of these, where there are any (`$or`).
    pub either: Vec<RecordPattern>,
}

/// What must be so of the headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeadersPattern {
    pub named: Vec<(String, Leaf)>,
    /// One of these, where there are any (`$or`).
    pub either: Vec<HeadersPattern>,
}

/// What must be so of a value or a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// It is JSON, with these fields.
    Json(Tree),
    /// It is read as text.
    Text(Leaf),
}

/// A value or key whose JSON is parsed when the first pattern asks for it, and then kept.
pub struct Parsed<'a> {
    bytes: Option<&'a [u8]>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Parsed<'a> {
    pub fn new(bytes: Option<&'a [u8]>) -> Self {
        Self { bytes, json: OnceCell::new() }
    }

    /// `None` where it is absent or not JSON.
    fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| parsed(self.bytes?)).as_ref()
    }
}

impl RecordPattern {
    pub fn matches<'h>(
        &self,
        key: &Parsed<'_>,
        value: &Parsed<'_>,
        headers: &(impl Iterator<Item = (&'h str, Option<&'h [u8]>)> + Clone),
    ) -> bool {
        // The cheapest first: the value is parsed only where the rest has matched.
        self.headers.as_ref().is_none_or(|pattern| pattern.matches(headers))
            && self.key.as_ref().is_none_or(|pattern| pattern.matches(key))
            && self.value.as_ref().is_none_or(|pattern| pattern.matches(value))
            && (self.either.is_empty() || self.either.iter().any(|pattern| pattern.matches(key, value, headers)))
    }
}

impl HeadersPattern {
    fn matches<'h>(&self, headers: &(impl Iterator<Item = (&'h str, Option<&'h [u8]>)> + Clone)) -> bool {
        self.named.iter().all(|(name, leaf)| {
            let mut values = headers.clone().filter(|(other, _)| other == name).peekable();
            if values.peek().is_none() {
                return leaf.takes_absence();
            }
            values.any(|(_, value)| leaf.takes(text(value)))
        }) && (self.either.is_empty() || self.either.iter().any(|pattern| pattern.matches(headers)))
    }
}

impl Content {
    fn matches(&self, content: &Parsed<'_>) -> bool {
        match self {
            Self::Json(tree) => content.json().is_some_and(|json| tree.matches(json)),
            Self::Text(leaf) if content.bytes.is_none() => leaf.takes_absence(),
            Self::Text(leaf) => leaf.takes(text(content.bytes)),
        }
    }
}

/// JSON whose strings need be no Unicode: other parsers take them, and what a pattern asks may be elsewhere.
fn parsed(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok().or_else(|| serde_json::from_slice(&surrogates::paired(bytes)?).ok())
}

/// A header without a value is there, with nothing to compare.
fn text(bytes: Option<&[u8]>) -> Scalar<'_> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).map_or(Scalar::Opaque, Scalar::Text)
}
