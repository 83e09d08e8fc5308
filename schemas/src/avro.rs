//! Avro: the binary encoding, without a container, as Confluent's clients write it.

mod from_json;
mod to_json;
mod walk;

use crate::schema::{Invalid, Reference};
use apache_avro::{
    Schema, from_avro_datum_schemata,
    schema::{Name, NamesRef, Namespace, ResolvedSchema},
    to_avro_datum_schemata,
};
use serde_json::Value;
use std::sync::Once;

/// The most memory that a length written in a record may ask for.
const LARGEST: usize = 64 << 20;
/// The most places of a decimal: written out, each takes a byte.
const PLACES: usize = 1_000;

#[derive(Debug)]
pub struct Avro {
    /// Schemas live as long as the process: their ids are never used for others.
    schema: &'static Schema,
    /// It and those that it refers to.
    all: Vec<&'static Schema>,
    names: NamesRef<'static>,
}

/// Where in a schema one is: names are looked up from there.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The schemas that names are resolved by.
    all: &'a [&'static Schema],
    names: &'a NamesRef<'static>,
    namespace: &'a Namespace,
    schema: &'a Schema,
}

impl Avro {
    pub fn compile(text: &str, references: &[Reference]) -> Result<Self, Invalid> {
        static LIMIT: Once = Once::new();
        LIMIT.call_once(|| {
            apache_avro::util::max_allocation_bytes(LARGEST);
        });
        let (schema, others) = Schema::parse_str_with_list(text, references.iter().map(|reference| &reference.text))
            .map_err(Invalid::new)?;
        let schema: &'static Schema = Box::leak(Box::new(schema));
        let others: &'static [Schema] = Box::leak(others.into_boxed_slice());
        let mut all = in_order(others)?;
        all.push(schema);
        let names = ResolvedSchema::try_from(all.clone()).map_err(Invalid::new)?.get_names().clone();
        Ok(Self { schema, all, names })
    }

    pub fn decode(&self, body: &[u8]) -> Result<Vec<u8>, Invalid> {
        walk::check(body, self.root())?;
        let mut rest = body;
        let value = from_avro_datum_schemata(self.schema, self.all.clone(), &mut rest, None).map_err(Invalid::new)?;
        let json = to_json::value(value, self.root())?;
        serde_json::to_vec(&json).map_err(Invalid::new)
    }

    pub fn encode(&self, value: &Value, bytes: &mut Vec<u8>) -> Result<(), Invalid> {
        let value = from_json::value(value, self.root())?;
        bytes.extend(to_avro_datum_schemata(self.schema, self.all.clone(), value).map_err(Invalid::new)?);
        Ok(())
    }

    fn root(&self) -> Place<'_> {
        Place { all: &self.all, names: &self.names, namespace: &None, schema: self.schema }
    }
}

impl<'a> Place<'a> {
    /// The places of a decimal.
    fn places(self, scale: usize) -> Result<i64, Invalid> {
        let places = i64::try_from(scale).ok().filter(|_| scale <= PLACES);
        places.ok_or_else(|| Invalid(format!("a decimal of {scale} places is above {PLACES}")))
    }

    /// A part of it, in the same namespace.
    fn at(self, schema: &'a Schema) -> Self {
        Self { schema, ..self }
    }

    /// The schema that a name stands for.
    fn named(self, name: &Name) -> Result<Self, Invalid> {
        let full = name.fully_qualified_name(self.namespace);
        let found = self.names.get_key_value(&full);
        let (name, schema) = found.ok_or_else(|| Invalid(format!("the schema does not say what {full} is")))?;
        Ok(Self { namespace: &name.namespace, schema, ..self })
    }

    /// The same with the namespace that a record gives its fields.
    fn inside(self, name: &'a Name) -> Self {
        let namespace = if name.namespace.is_some() { &name.namespace } else { self.namespace };
        Self { namespace, ..self }
    }
}

/// The schemas so that each refers to those before it only, which is how names are resolved.
fn in_order(schemas: &'static [Schema]) -> Result<Vec<&'static Schema>, Invalid> {
    let mut rest: Vec<_> = schemas.iter().collect();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let resolves = |schema: &&'static Schema| {
            ResolvedSchema::try_from(ordered.iter().copied().chain([*schema]).collect::<Vec<_>>())
        };
        let mut reason = None;
        let next = rest.iter().position(|schema| resolves(schema).map_err(|error| reason = Some(error)).is_ok());
        let Some(next) = next else {
            return Err(reason.map_or_else(|| Invalid::new("what it refers to is missing"), Invalid::new));
        };
        ordered.push(rest.remove(next));
    }
    Ok(ordered)
}
