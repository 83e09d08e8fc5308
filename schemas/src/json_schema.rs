//! JSON Schema: the bytes are the JSON; the schema says whether they may be.

use crate::schema::{Invalid, Reference};
use jsonschema::{Resource, Retrieve, Uri, Validator};
use serde_json::Value;
use std::error::Error;

#[derive(Debug)]
pub struct JsonSchema(Validator);

/// A schema refers to what is registered with it; it sends nobody to other hosts, or to files.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        Err(format!("{uri} is not among the schema's references").into())
    }
}

impl JsonSchema {
    pub fn compile(text: &str, references: &[Reference]) -> Result<Self, Invalid> {
        let schema: Value = serde_json::from_str(text).map_err(Invalid::new)?;
        let mut options = jsonschema::options().with_retriever(Nowhere);
        for reference in references {
            let contents: Value = serde_json::from_str(&reference.text).map_err(Invalid::new)?;
            // A name that is no URI is relative to the schema's own.
            let uri = if reference.name.contains(':') {
                reference.name.clone()
            } else {
                format!("json-schema:///{}", reference.name.trim_start_matches('/'))
            };
            options = options.with_resource(uri, Resource::from_contents(contents));
        }
        options.build(&schema).map(Self).map_err(Invalid::new)
    }

    pub fn decode(&self, body: &[u8]) -> Result<Vec<u8>, Invalid> {
        let value: Value = serde_json::from_slice(body).map_err(Invalid::new)?;
        self.check(&value)?;
        Ok(body.to_vec())
    }

    pub fn encode(&self, value: &Value, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        self.check(value)?;
        serde_json::to_writer(bytes, value).map_err(Invalid::new)
    }

    fn check(&self, value: &Value) -> Result<(), Invalid> {
        self.0.validate(value).map_err(|error| {
            let place = error.instance_path().to_string();
            // The value itself may be large, or nobody else's business.
            let reason = error.masked();
            Invalid(if place.is_empty() { reason.to_string() } else { format!("{place}: {reason}") })
        })
    }
}
