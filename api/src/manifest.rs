//! Manifests as files: YAML with several documents, each node with the line it stands on.
//!
//! Text in, resources out; reading the file is the caller's. What is not one of our kinds is
//! kept as such, so that a folder may hold other manifests too.

use crate::{Function, KafkaCluster, Topic};
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most levels in a document; what reads and drops deeper ones would run out of stack.
const DEEPEST: usize = 128;

/// One YAML document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The document as JSON.
    pub value: Value,
    /// JSON pointer of each node → line in the file, beginning with 1.
    lines: BTreeMap<String, usize>,
}

/// A document that is one of our resources.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// A function.
    Function(Box<Function>),
    /// A connection.
    KafkaCluster(Box<KafkaCluster>),
    /// A topic.
    Topic(Box<Topic>),
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not YAML: {reason}")]
pub struct SyntaxError {
    /// Where the parser gave up, beginning with 1.
    pub line: usize,
    /// What it met.
    pub reason: String,
}

/// All documents of a text; empty ones are left out.
///
/// # Errors
/// When the text is not YAML.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    if let Some(line) = too_deep(text) {
        return Err(SyntaxError { line, reason: format!("is nested deeper than {DEEPEST} levels") });
    }
    let nodes = MarkedYaml::load_from_str(text)
        .map_err(|error| SyntaxError { line: error.marker().line(), reason: error.info().to_owned() })?;
    nodes
        .iter()
        .map(|node| {
            let mut lines = BTreeMap::new();
            let value = to_json(node, "", DEEPEST, &mut lines)?;
            Ok(Document { value, lines })
        })
        .filter(|document| !matches!(document, Ok(Document { value: Value::Null, .. })))
        .collect()
}

/// The line on which a text is nested too deep, before anything is made of it.
fn too_deep(text: &str) -> Option<usize> {
    let mut levels = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => levels += 1,
            Event::SequenceEnd | Event::MappingEnd => levels -= 1,
            _ => {}
        }
        if levels > DEEPEST {
            return Some(span.start.line());
        }
    }
    None
}

impl Document {
    /// The line of the node at a JSON pointer, or of its nearest ancestor that is there.
    #[must_use]
    pub fn line(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.lines.get(pointer) {
                return *line;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return 1,
            }
        }
    }

    /// `kind`, where the document has one of our API group.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        let api_version = self.value.get("apiVersion")?.as_str()?;
        (api_version.split('/').next()? == crate::GROUP).then(|| self.value.get("kind")?.as_str()).flatten()
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.value.pointer("/metadata/name")?.as_str()
    }
}

/// `levels` is how many more there may be: aliases make some that the text does not show.
fn to_json(
    node: &MarkedYaml<'_>,
    pointer: &str,
    levels: usize,
    lines: &mut BTreeMap<String, usize>,
) -> Result<Value, SyntaxError> {
    let line = node.span.start.line();
    let refused = |reason: &str| SyntaxError { line, reason: reason.to_owned() };
    let Some(below) = levels.checked_sub(1) else { return Err(refused("is nested too deep by its aliases")) };
    lines.entry(pointer.to_owned()).or_insert(line);
    match &node.data {
        YamlData::Value(scalar) => Ok(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => (*value).into(),
            Scalar::Integer(value) => (*value).into(),
            Scalar::FloatingPoint(value) => value.into_inner().into(),
            Scalar::String(text) => text.as_ref().into(),
        }),
        YamlData::Sequence(items) => {
            items.iter().enumerate().map(|(i, item)| to_json(item, &format!("{pointer}/{i}"), below, lines)).collect()
        }
        YamlData::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries {
                let Value::String(name) = to_json(key, "", below, &mut BTreeMap::new())? else {
                    return Err(refused("a key is not text: put it in quotes"));
                };
                let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                lines.insert(at.clone(), key.span.start.line());
                object.insert(name, to_json(value, &at, below, lines)?);
            }
            Ok(Value::Object(object))
        }
        YamlData::Tagged(_, inner) => to_json(inner, pointer, below, lines),
        YamlData::Alias(_) | YamlData::BadValue | YamlData::Representation(..) => {
            Err(refused("a value that YAML cannot hold"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::documents;

    #[test]
    fn every_node_knows_its_line() {
        let text = "# comment\napiVersion: tidemill.dev/v1alpha1\nkind: Function\nspec:\n  trigger:\n    kafka:\n      topics:\n        - a\n        - b\n---\n---\nkind: Other\n";
        let documents = documents(text).expect("YAML");
        assert_eq!(documents.len(), 2);
        for (pointer, line) in
            [("/kind", 3), ("/spec/trigger/kafka/topics/1", 9), ("/spec/trigger/schedule", 5), ("/nowhere", 2)]
        {
            assert_eq!(documents[0].line(pointer), line, "{pointer}");
        }
        assert_eq!(documents[0].kind(), Some("Function"));
        assert_eq!(documents[1].kind(), None);
        assert_eq!(documents[1].line("/kind"), 12);
    }

    #[test]
    fn depth_has_a_limit() {
        assert!(documents(&"- ".repeat(100)).is_ok());
        for text in ["- ".repeat(100_000), "[".repeat(200), "? ".repeat(100_000)] {
            assert!(documents(&text).is_err());
        }
        let aliases: String = (1..400).map(|level| format!("- &a{level} [*a{}]\n", level - 1)).collect();
        let error = documents(&format!("- &a0 x\n{aliases}")).expect_err("too deep");
        assert!(error.reason.contains("aliases"), "{error}");
    }

    #[test]
    fn broken_yaml_says_where() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").expect_err("an open bracket");
        assert!((2..=4).contains(&error.line), "{error:?}");
        assert!(documents("a: 1\na: 2\n").is_err(), "a key given twice");
        assert!(documents("1: a\n").is_err(), "a key that is a number");
    }
}
