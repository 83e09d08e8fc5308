//! The shape of patterns: which objects, lists and fields there may be, and how many.

use crate::{
    DEEPEST, Error, LONGEST_TEXT, MOST_ABSENCES, MOST_ALTERNATIVES, MOST_PATTERNS,
    leaf::Leaf,
    operators::OPERATORS,
    record::{Content, HeadersPattern, RecordPattern},
    tree::{Fields, Node, Tree},
};
use serde_json::{Map, Value};

/// Fields of which one must match instead of all.
const OR: &str = "$or";

/// What a leaf is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A scalar of JSON.
    Json,
    /// Bytes that are read as text.
    Text,
}

/// Compiles patterns, and knows where it is.
#[derive(Default)]
pub struct Compiler {
    pointer: Vec<String>,
    alternatives: usize,
    /// The fields from the document's root to here.
    path: Vec<String>,
    absences: Vec<Vec<String>>,
}

impl Compiler {
    pub fn patterns(&mut self, patterns: &[Value]) -> Result<Vec<RecordPattern>, Error> {
        if patterns.len() > MOST_PATTERNS {
            return self.refuse(format!("has more than {MOST_PATTERNS} patterns: put some together with `$or`"));
        }
        self.each(patterns, Self::record)
    }

    fn record(&mut self, pattern: &Value) -> Result<RecordPattern, Error> {
        let mut compiled = RecordPattern::default();
        for (name, pattern) in self.object(pattern, "with any of `value`, `key` and `headers`")? {
            self.at(name, |compiler| {
                match name.as_str() {
                    "headers" => compiled.headers = Some(compiler.headers(pattern)?),
                    "key" => compiled.key = Some(compiler.content(pattern)?),
                    "value" => compiled.value = Some(compiler.content(pattern)?),
                    OR => compiled.either = compiler.either(pattern, Self::record)?,
                    _ => return compiler.refuse("is no part of a record: there are `value`, `key` and `headers`"),
                }
                Ok(())
            })?;
        }
        Ok(compiled)
    }

    fn headers(&mut self, pattern: &Value) -> Result<HeadersPattern, Error> {
        let mut compiled = HeadersPattern::default();
        for (name, pattern) in self.object(pattern, "of headers' names, such as {source: [crawl]}")? {
            self.at(name, |compiler| {
                match pattern {
                    _ if name == OR => compiled.either = compiler.either(pattern, Self::headers)?,
                    Value::Array(alternatives) => {
                        compiled.named.push((name.clone(), compiler.leaf(alternatives, Over::Text)?));
                    }
                    _ => return compiler.refuse("is no list: write the header's values as a list, such as [crawl]"),
                }
                Ok(())
            })?;
        }
        Ok(compiled)
    }

    fn content(&mut self, pattern: &Value) -> Result<Content, Error> {
        match pattern {
            Value::Array(alternatives) => Ok(Content::Text(self.leaf(alternatives, Over::Text)?)),
            Value::Object(_) => {
                let root = self.fields(pattern)?;
                Ok(Content::Json(Tree { root, absences: std::mem::take(&mut self.absences) }))
            }
            _ => self.refuse("is neither: write an object for the fields of JSON, or a list for the whole text"),
        }
    }

    fn fields(&mut self, pattern: &Value) -> Result<Fields, Error> {
        let mut compiled = Fields::default();
        for (name, pattern) in self.object(pattern, "of fields, such as {source: [crawl]}")? {
            if name == OR {
                compiled.either = self.at(name, |compiler| compiler.either(pattern, Self::fields))?;
                continue;
            }
            self.path.push(name.clone());
            let node = self.at(name, |compiler| compiler.node(pattern))?;
            self.path.pop();
            compiled.named.push((name.clone(), node));
        }
        Ok(compiled)
    }

    fn node(&mut self, pattern: &Value) -> Result<Node, Error> {
        let alternatives = match pattern {
            Value::Object(_) => return self.fields(pattern).map(Node::Fields),
            Value::Array(alternatives) => alternatives,
            scalar => {
                let text = shortened(scalar);
                // Who forgot the list around an operator has written a field of that name.
                let operator = self.path.last().filter(|name| OPERATORS.contains(&format!("`{name}`")));
                let operator = operator.map(|name| format!(", or above it [{{\"{name}\": {text}}}] for the operator"));
                let operator = operator.unwrap_or_default();
                return self.refuse(format!("is neither an object nor a list: write [{text}]{operator}"));
            }
        };
        let leaf = self.leaf(alternatives, Over::Json)?;
        if !leaf.absent {
            return Ok(Node::Leaf { leaf, absence: None });
        }
        if self.absences.len() == MOST_ABSENCES {
            return self.refuse(format!("is one of more than {MOST_ABSENCES} `exists: false`: write fewer"));
        }
        self.absences.push(self.path.clone());
        Ok(Node::Leaf { leaf, absence: Some(self.absences.len() - 1) })
    }

    fn leaf(&mut self, alternatives: &[Value], over: Over) -> Result<Leaf, Error> {
        if alternatives.is_empty() {
            return self.refuse("is an empty list, which nothing matches: write values, or leave the field out");
        }
        let tests = self.each(alternatives, |compiler, alternative| compiler.alternative(alternative, over))?;
        let absent = tests.iter().any(Option::is_none);
        Ok(Leaf { tests: tests.into_iter().flatten().collect(), absent })
    }

    fn either<T>(
        &mut self,
        branches: &Value,
        compile: impl FnMut(&mut Self, &Value) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        match branches {
            Value::Array(branches) if branches.len() > 1 => self.each(branches, compile),
            _ => self.refuse("is no list of at least two objects: write them, or leave `$or` out"),
        }
    }

    fn object<'v>(&mut self, pattern: &'v Value, which: &str) -> Result<&'v Map<String, Value>, Error> {
        match pattern {
            Value::Object(fields) if !fields.is_empty() => Ok(fields),
            Value::Object(_) => self.refuse(format!("is an empty object: write one {which}, or leave it out")),
            _ => self.refuse(format!("is no object: write one {which}")),
        }
    }

    /// Compiles each item of a list at its place.
    pub fn each<T>(
        &mut self,
        items: &[Value],
        mut compile: impl FnMut(&mut Self, &Value) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let items = items.iter().enumerate();
        items.map(|(index, item)| self.at(&index.to_string(), |compiler| compile(compiler, item))).collect()
    }

    /// Compiles what is one step further.
    pub fn at<T>(&mut self, step: &str, compile: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.pointer.len() == DEEPEST {
            return self.refuse(format!("is the end of {DEEPEST} levels: nothing may be nested deeper"));
        }
        if step.len() > LONGEST_TEXT {
            return self.refuse(format!("has a field with a name of more than {LONGEST_TEXT} bytes: shorten it"));
        }
        self.pointer.push(step.replace('~', "~0").replace('/', "~1"));
        let compiled = compile(self)?;
        self.pointer.pop();
        Ok(compiled)
    }

    /// Counts one more alternative.
    pub fn count(&mut self) -> Result<(), Error> {
        self.alternatives += 1;
        if self.alternatives > MOST_ALTERNATIVES {
            return self.refuse(format!("is above {MOST_ALTERNATIVES} alternatives in all: write fewer"));
        }
        Ok(())
    }

    /// A text of the pattern.
    pub fn text(&mut self, value: &Value) -> Result<String, Error> {
        match value {
            Value::String(text) if text.len() <= LONGEST_TEXT => Ok(text.clone()),
            Value::String(_) => self.refuse(format!("is longer than {LONGEST_TEXT} bytes: shorten it")),
            other => self.refuse(format!("{} is no text: write one, in quotes", shortened(other))),
        }
    }

    pub fn refuse<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        let pointer = self.pointer.iter().fold(String::new(), |pointer, step| pointer + "/" + step);
        Err(Error { pointer, message: message.into() })
    }
}

/// A value in an error's text; the parts of larger ones are left out.
pub fn shortened(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > 40 => {
            format!("\"{}…\"", text.chars().take(40).collect::<String>())
        }
        scalar => scalar.to_string(),
    }
}
