//! A schema that is ready to use: bytes to JSON, JSON to bytes.

use crate::{avro::Avro, json_schema::JsonSchema, protobuf::Protobuf, wire};
use serde_json::Value;
use std::fmt;

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl fmt::Display for Format {
    /// As Lambda's events name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        })
    }
}

/// A schema that another one refers to.
#[derive(Clone, Debug)]
pub struct Reference {
    /// By which name: an import, a `$ref`, or an Avro type's full name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A schema that is ready to use.
#[derive(Debug)]
pub struct Schema {
    /// Its id in the registry.
    pub id: u32,
    /// Its language.
    pub format: Format,
    codec: Codec,
}

#[derive(Debug)]
enum Codec {
    Avro(Avro),
    Protobuf(Protobuf),
    Json(JsonSchema),
}

/// What a schema says against bytes, a value or itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(crate) String);

impl Invalid {
    /// For that reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl Schema {
    /// Understands a schema's text.
    ///
    /// # Errors
    /// When it is no schema of that language, or refers to one that is not among `references`.
    pub fn compile(id: u32, format: Format, text: &str, references: &[Reference]) -> Result<Self, Invalid> {
        let codec = match format {
            Format::Avro => Codec::Avro(Avro::compile(text, references)?),
            Format::Protobuf => Codec::Protobuf(Protobuf::compile(text, references)?),
            Format::Json => Codec::Json(JsonSchema::compile(text, references)?),
        };
        Ok(Self { id, format, codec })
    }

    /// The JSON of a body, which is what follows the id in the wire format.
    ///
    /// # Errors
    /// When the schema does not describe it.
    pub fn decode(&self, body: &[u8]) -> Result<Vec<u8>, Invalid> {
        match &self.codec {
            Codec::Avro(codec) => codec.decode(body),
            Codec::Protobuf(codec) => codec.decode(body),
            Codec::Json(codec) => codec.decode(body),
        }
    }

    /// The bytes of a JSON value in the wire format.
    ///
    /// # Errors
    /// When the schema does not describe it.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, Invalid> {
        let mut bytes = wire::head(self.id);
        match &self.codec {
            Codec::Avro(codec) => codec.encode(value, &mut bytes)?,
            Codec::Protobuf(codec) => codec.encode(value, &mut bytes)?,
            Codec::Json(codec) => codec.encode(value, &mut bytes)?,
        }
        Ok(bytes)
    }
}
