//! Keys and values that a schema of the registry describes, as JSON for the function.
//!
//! A value is decoded where it is in Confluent's wire format. A key is, where the registry also has
//! a schema for the topic's keys: numbers as keys begin with the same byte.

use crate::{failure::Failure, record::Raw};
use bytes::Bytes;
use std::sync::Arc;
use tidemill_api::RecordPart;
use tidemill_schemas::{Format, Invalid, NoSchema, Registry, Schema, Subject, wire};

/// Decodes records of one trigger.
#[derive(Debug)]
pub struct Decoder {
    registry: Arc<Registry>,
    keys: bool,
    values: bool,
}

/// What a record's key and value are in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The key, where a schema describes it.
    pub key: Option<Json>,
    /// The value, where a schema describes it.
    pub value: Option<Json>,
}

/// JSON, and by which schema it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json {
    /// The text.
    pub text: Bytes,
    /// The schema's language.
    pub format: Format,
    /// The schema's id.
    pub schema_id: u32,
}

/// Why a record is not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no schema.
    #[error(transparent)]
    Schema(NoSchema),
    /// The schema does not describe it.
    #[error("the {part} cannot be decoded by schema {id}: {source}")]
    Value {
        /// `key` or `value`.
        part: &'static str,
        /// The schema's id.
        id: u32,
        /// What is wrong.
        source: Invalid,
    },
}

impl Decoder {
    /// For the parts that the manifest names.
    #[must_use]
    pub fn new(registry: Arc<Registry>, parts: &[RecordPart]) -> Self {
        let has = |part| parts.contains(&part);
        Self { registry, keys: has(RecordPart::Key), values: has(RecordPart::Value) }
    }

    /// What the record's parts are in JSON; `None` where no schema describes one.
    ///
    /// # Errors
    /// When a schema is missing or says something else.
    pub async fn decode(&self, topic: &str, record: Raw<'_>) -> Result<Option<Decoded>, Error> {
        let mut decoded = Decoded::default();
        if let Some((id, body)) = record.key.filter(|_| self.keys).and_then(wire::split) {
            let known = match self.registry.latest(&Subject::Key(topic.into())).await {
                Ok(latest) => latest.is_some(),
                Err(NoSchema::Unusable { .. }) => true,
                Err(error) => return Err(Error::Schema(error)),
            };
            if known {
                decoded.key = Some(self.json("key", id, body).await?);
            }
        }
        if let Some((id, body)) = record.value.filter(|_| self.values).and_then(wire::split) {
            decoded.value = Some(self.json("value", id, body).await?);
        }
        Ok((decoded.key.is_some() || decoded.value.is_some()).then_some(decoded))
    }

    /// The record's schema will not be there soon: it is not asked for again for a while.
    pub fn give_up(&self, error: &Error) {
        if let Error::Schema(NoSchema::Unknown { id, .. }) = error {
            self.registry.give_up(*id);
        }
    }

    async fn json(&self, part: &'static str, id: u32, body: &[u8]) -> Result<Json, Error> {
        let schema: Arc<Schema> = self.registry.by_id(id).await.map_err(Error::Schema)?;
        let text = schema.decode(body).map_err(|source| Error::Value { part, id, source })?;
        Ok(Json { text: text.into(), format: schema.format, schema_id: id })
    }
}

impl Decoded {
    /// The record as the function gets it.
    #[must_use]
    pub fn instead_of<'a>(&'a self, record: Raw<'a>) -> Raw<'a> {
        let part = |json: &'a Option<Json>, raw| json.as_ref().map(|json| &*json.text).or(raw);
        Raw { key: part(&self.key, record.key), value: part(&self.value, record.value), ..record }
    }
}

impl Error {
    /// Whether it may be otherwise when tried again.
    #[must_use]
    pub fn may_heal(&self) -> bool {
        match self {
            Self::Schema(NoSchema::Unavailable { .. }) => true,
            Self::Schema(NoSchema::Unknown { given_up, .. }) => !given_up,
            Self::Schema(NoSchema::Unusable { .. }) | Self::Value { .. } => false,
        }
    }

    /// Whether others fail for the same reason.
    #[must_use]
    pub fn is_registry_away(&self) -> bool {
        matches!(self, Self::Schema(NoSchema::Unavailable { .. }))
    }

    /// As the failure destination is told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Schema(error) => error.kind(),
            Self::Value { .. } => "Undecodable",
        };
        Failure::new(kind, self)
    }
}
