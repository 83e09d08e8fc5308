//! A pattern over JSON, in the shape of the JSON that it matches.
//!
//! Arrays in the data are looked through, however deep: one element must match all of an object
//! pattern, so that fields of different elements are never put together. Only scalars are leaves:
//! a field that holds an object, or nothing but empty arrays, is absent to a leaf's pattern.

use crate::{leaf::Leaf, test::Scalar};
use serde_json::{Map, Value};

/// A pattern over a JSON document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    pub root: Fields,
    /// The paths of the leaves that accept an absent field. Absence is of the whole document, not
    /// of one element of an array, hence it is found out before; a leaf has its bit in the set.
    pub absences: Vec<Vec<String>>,
}

/// Fields that must all match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    pub named: Vec<(String, Node)>,
    /// One of these must match as well, where there are any (`$or`).
    pub either: Vec<Fields>,
}

/// What must be so of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Fields(Fields),
    Leaf {
        leaf: Leaf,
        /// Which of `absences`, where the leaf accepts an absent field.
        absence: Option<usize>,
    },
}

impl Tree {
    pub fn matches(&self, data: &Value) -> bool {
        let absent = |(bit, path): (usize, &Vec<String>)| u64::from(!is_present(data, path)) << bit;
        let absences = self.absences.iter().enumerate().map(absent).fold(0, |all, bit| all | bit);
        self.root.matches(Some(data), absences)
    }
}

impl Fields {
    fn matches(&self, data: Option<&Value>, absences: u64) -> bool {
        match data {
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().any(|item| self.matches(Some(item), absences))
            }
            Some(Value::Object(map)) => self.match_object(Some(map), data, absences),
            _ => self.match_object(None, data, absences),
        }
    }

    fn match_object(&self, map: Option<&Map<String, Value>>, data: Option<&Value>, absences: u64) -> bool {
        let field = |name: &String| map.and_then(|map| map.get(name));
        self.named.iter().all(|(name, node)| node.matches(field(name), absences))
            && (self.either.is_empty() || self.either.iter().any(|fields| fields.matches(data, absences)))
    }
}

impl Node {
    fn matches(&self, data: Option<&Value>, absences: u64) -> bool {
        match self {
            Self::Fields(fields) => fields.matches(data, absences),
            Self::Leaf { leaf, absence } => {
                absence.is_some_and(|bit| absences >> bit & 1 == 1) || data.is_some_and(|data| any_scalar(data, leaf))
            }
        }
    }
}

fn any_scalar(data: &Value, leaf: &Leaf) -> bool {
    match data {
        Value::Array(items) => items.iter().any(|item| any_scalar(item, leaf)),
        Value::Object(_) => false,
        Value::Null => leaf.takes(Scalar::Null),
        Value::Bool(value) => leaf.takes(Scalar::Bool(*value)),
        Value::Number(number) => leaf.takes(Scalar::Number(number)),
        Value::String(text) => leaf.takes(Scalar::Text(text)),
    }
}

fn is_present(data: &Value, path: &[String]) -> bool {
    match (data, path) {
        (Value::Array(items), _) => items.iter().any(|item| is_present(item, path)),
        (Value::Object(map), [name, rest @ ..]) => map.get(name).is_some_and(|field| is_present(field, rest)),
        (Value::Object(_), []) => false,
        (_, path) => path.is_empty(),
    }
}
