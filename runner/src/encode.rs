//! Outputs as the schemas of their topics want them.
//!
//! Where the registry has a subject `<topic>-value`, what the function answers as `value` is
//! encoded by its latest schema; the same goes for keys and `<topic>-key`. `valueBase64` is sent as
//! it is: that is for functions that encode by themselves.

use crate::failure::Failure;
use bytes::Bytes;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};
use tidemill_schemas::{Invalid, Registry, Schema, Subject};

/// Encodes for the topics that a function may write to.
#[derive(Debug)]
pub struct Encoder {
    registry: Arc<Registry>,
    topics: Vec<Arc<str>>,
}

/// The schemas of topics, as they are now.
#[derive(Clone, Debug, Default)]
pub struct Encodings(HashMap<Arc<str>, OfTopic>);

/// A topic's schemas.
#[derive(Clone, Debug, Default)]
pub struct OfTopic {
    key: Option<Arc<Schema>>,
    value: Option<Arc<Schema>>,
}

impl Encoder {
    /// For those topics.
    pub fn new<'a>(registry: Arc<Registry>, topics: impl IntoIterator<Item = &'a String>) -> Self {
        Self { registry, topics: topics.into_iter().map(|topic| Arc::from(topic.as_str())).collect() }
    }

    /// The schemas that the topics have.
    ///
    /// # Errors
    /// When the registry does not say.
    pub async fn schemas(&self) -> Result<Encodings, Failure> {
        let mut encodings = HashMap::new();
        for topic in &self.topics {
            let key = self.latest(Subject::Key(topic.clone())).await?;
            let value = self.latest(Subject::Value(topic.clone())).await?;
            if key.is_some() || value.is_some() {
                encodings.insert(topic.clone(), OfTopic { key, value });
            }
        }
        Ok(Encodings(encodings))
    }

    async fn latest(&self, subject: Subject) -> Result<Option<Arc<Schema>>, Failure> {
        self.registry
            .latest(&subject)
            .await
            .map_err(|error| Failure::new(error.kind(), format!("no output can be encoded for {subject}: {error}")))
    }
}

impl Encodings {
    /// The schemas of a topic, where it has some.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<&OfTopic> {
        self.0.get(topic)
    }
}

impl OfTopic {
    /// A value as the topic's schema wants it; `None` where it has none.
    #[must_use]
    pub fn value(&self, json: &str) -> Option<Result<Bytes, Invalid>> {
        let schema = self.value.as_ref()?;
        Some(parse(json).and_then(|value| encode(schema, value)))
    }

    /// A key as the topic's schema wants it, or as it is.
    ///
    /// # Errors
    /// When the schema does not describe it.
    pub fn key(&self, text: String) -> Result<Bytes, Invalid> {
        match &self.key {
            Some(schema) => encode(schema, Value::String(text)),
            None => Ok(Bytes::from(text)),
        }
    }
}

/// A text that the schema does not take as such may be JSON itself.
fn encode(schema: &Schema, value: Value) -> Result<Bytes, Invalid> {
    let encoded = schema.encode(&value).or_else(|invalid| match value.as_str().map(parse) {
        Some(Ok(inner)) => schema.encode(&inner),
        _ => Err(invalid),
    });
    encoded.map(Bytes::from)
}

fn parse(json: &str) -> Result<Value, Invalid> {
    serde_json::from_str(json).map_err(Invalid::new)
}
