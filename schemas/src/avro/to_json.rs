//! How an Avro value looks in JSON: as one would write it by hand.
//!
//! A union is the value that it holds, `bytes` and `fixed` are base64, decimals and UUIDs are text,
//! dates and times the number that Avro has for them, a number that is none (`NaN`) is its name.

use super::Place;
use crate::schema::Invalid;
use apache_avro::{Schema, types::Value as Avro};
use base64_simd::STANDARD;
use bigdecimal::{BigDecimal, num_bigint::BigInt};
use serde_json::{Map, Number, Value, json};

/// Of a value that `walk` has let through, which bounds how deep this goes.
pub fn value(value: Avro, place: Place<'_>) -> Result<Value, Invalid> {
    if let Schema::Ref { name } = place.schema {
        return self::value(value, place.named(name)?);
    }
    let inner = |inner: Avro, schema| self::value(inner, place.at(schema));
    Ok(match (value, place.schema) {
        (Avro::Null, Schema::Null) => Value::Null,
        (Avro::Union(index, value), Schema::Union(union)) => {
            let variant = union.variants().get(index as usize);
            let variant = variant.ok_or_else(|| Invalid(format!("the union has no type {index}")))?;
            inner(*value, variant)?
        }
        (Avro::Array(items), Schema::Array(array)) => {
            Value::Array(items.into_iter().map(|item| inner(item, &array.items)).collect::<Result<_, _>>()?)
        }
        (Avro::Map(entries), Schema::Map(map)) => {
            let entries = entries.into_iter().map(|(name, entry)| Ok((name, inner(entry, &map.types)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, Invalid>>()?)
        }
        (Avro::Record(fields), Schema::Record(record)) => {
            let place = place.inside(&record.name);
            let fields = fields
                .into_iter()
                .zip(&record.fields)
                .map(|((name, field), schema)| Ok((name, self::value(field, place.at(&schema.schema))?)));
            Value::Object(fields.collect::<Result<Map<_, _>, Invalid>>()?)
        }
        (Avro::Decimal(decimal), Schema::Decimal(schema)) => {
            let scale = place.places(schema.scale)?;
            BigDecimal::new(BigInt::from(decimal), scale).to_plain_string().into()
        }
        (value, _) => simple(value)?,
    })
}

fn simple(value: Avro) -> Result<Value, Invalid> {
    Ok(match value {
        Avro::Boolean(value) => value.into(),
        Avro::Int(value) | Avro::Date(value) | Avro::TimeMillis(value) => value.into(),
        Avro::Long(value)
        | Avro::TimeMicros(value)
        | Avro::TimestampMillis(value)
        | Avro::TimestampMicros(value)
        | Avro::TimestampNanos(value)
        | Avro::LocalTimestampMillis(value)
        | Avro::LocalTimestampMicros(value)
        | Avro::LocalTimestampNanos(value) => value.into(),
        // The shortest text that is this number, which is not that of the double it becomes.
        Avro::Float(value) => number(value.to_string().parse().unwrap_or(f64::NAN)),
        Avro::Double(value) => number(value),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => STANDARD.encode_to_string(bytes).into(),
        Avro::String(text) | Avro::Enum(_, text) => text.into(),
        // Its scale is in the value: written out it may be longer than memory.
        Avro::BigDecimal(decimal) => decimal.to_string().into(),
        Avro::Uuid(uuid) => uuid.to_string().into(),
        Avro::Duration(duration) => json!({
            "months": u32::from(duration.months()),
            "days": u32::from(duration.days()),
            "millis": u32::from(duration.millis()),
        }),
        other => return Err(Invalid(format!("{other:?} is not what the schema describes"))),
    })
}

fn number(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
