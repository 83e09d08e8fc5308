//! Avro: the binary encoding, without a container, as Confluent's clients write it.

mod depth;
mod from_json;
mod to_json;

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
/// Records, lists and maps in each other, at most: deeper than this nobody's JSON parser reads.
const DEPTH: usize = 100;

#[derive(Debug)]
pub struct Avro {
    /// Schemas live as long as the process: their ids are never used for others.
    schema: &'static Schema,
    /// It and those that it refers to.
    all: Vec<&'static Schema>,
    names: NamesRef<'static>,
    recursive: bool,
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
        let all: Vec<&'static Schema> = others.iter().chain([schema]).collect();
        let names = ResolvedSchema::try_from(all.clone()).map_err(Invalid::new)?.get_names().clone();
        let recursive = is_recursive(Place { all: &all, names: &names, namespace: &None, schema }, &mut Vec::new());
        Ok(Self { schema, all, names, recursive })
    }

    pub fn decode(&self, body: &[u8]) -> Result<Vec<u8>, Invalid> {
        if self.recursive {
            depth::check(body, self.root())?;
        }
        let mut rest = body;
        let value = from_avro_datum_schemata(self.schema, self.all.clone(), &mut rest, None).map_err(Invalid::new)?;
        if !rest.is_empty() {
            return Err(Invalid(format!("{} bytes are left behind the value", rest.len())));
        }
        let json = to_json::value(value, self.root(), 0)?;
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

fn too_deep() -> Invalid {
    Invalid(format!("the value is nested deeper than {DEPTH}"))
}

/// Whether a record is among its own parts.
fn is_recursive<'a>(place: Place<'a>, open: &mut Vec<&'a Name>) -> bool {
    match place.schema {
        Schema::Array(array) => is_recursive(place.at(&array.items), open),
        Schema::Map(map) => is_recursive(place.at(&map.types), open),
        Schema::Union(union) => union.variants().iter().any(|variant| is_recursive(place.at(variant), open)),
        Schema::Ref { name } => {
            let Ok(found) = place.named(name) else { return false };
            is_recursive(found, open)
        }
        Schema::Record(record) => {
            if open.contains(&&record.name) {
                return true;
            }
            open.push(&record.name);
            let place = place.inside(&record.name);
            let found = record.fields.iter().any(|field| is_recursive(place.at(&field.schema), open));
            open.pop();
            found
        }
        _ => false,
    }
}
