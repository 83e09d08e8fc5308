//! The way back from JSON, by what the schema wants. What is not said by the JSON is the schema's
//! default, or null where that may be; what the schema does not know is an error, and not lost.

use super::Place;
use crate::schema::Invalid;
use apache_avro::{Days, Decimal, Duration, Millis, Months, Schema, schema::RecordSchema, types::Value as Avro};
use base64_simd::STANDARD;
use bigdecimal::BigDecimal;
use serde_json::Value;

pub fn value(json: &Value, place: Place<'_>) -> Result<Avro, Invalid> {
    let wanted = |what: &str| Invalid(format!("{what} expected, {} found", kind(json)));
    let whole = || json.as_i64().ok_or_else(|| wanted("a whole number"));
    let small = || whole().and_then(|number| i32::try_from(number).map_err(|_| Invalid(format!("{number} is no int"))));
    let text = || json.as_str().ok_or_else(|| wanted("a text"));
    Ok(match place.schema {
        Schema::Ref { name } => value(json, place.named(name)?)?,
        Schema::Null => json.as_null().map(|()| Avro::Null).ok_or_else(|| wanted("null"))?,
        Schema::Boolean => Avro::Boolean(json.as_bool().ok_or_else(|| wanted("true or false"))?),
        Schema::Int => Avro::Int(small()?),
        Schema::Long => Avro::Long(whole()?),
        #[expect(clippy::cast_possible_truncation, reason = "a float is as exact as it is")]
        Schema::Float => Avro::Float(number(json).ok_or_else(|| wanted("a number"))? as f32),
        Schema::Double => Avro::Double(number(json).ok_or_else(|| wanted("a number"))?),
        Schema::Bytes => Avro::Bytes(base64(text()?)?),
        Schema::Fixed(fixed) => {
            let bytes = base64(text()?)?;
            if bytes.len() != fixed.size {
                return Err(Invalid(format!("{} bytes expected, {} found", fixed.size, bytes.len())));
            }
            Avro::Fixed(fixed.size, bytes)
        }
        Schema::String => Avro::String(text()?.to_owned()),
        Schema::Enum(symbols) => {
            let text = text()?;
            let index = symbols.symbols.iter().position(|symbol| symbol == text);
            let index = index.ok_or_else(|| Invalid(format!("`{text}` is none of {}", symbols.symbols.join(", "))))?;
            Avro::Enum(u32::try_from(index).map_err(Invalid::new)?, text.to_owned())
        }
        Schema::Array(array) => {
            let items = json.as_array().ok_or_else(|| wanted("a list"))?.iter().enumerate();
            let items = items.map(|(index, item)| within(&index.to_string(), value(item, place.at(&array.items))));
            Avro::Array(items.collect::<Result<_, _>>()?)
        }
        Schema::Map(map) => {
            let entries = json.as_object().ok_or_else(|| wanted("an object"))?.iter();
            let entries =
                entries.map(|(name, entry)| Ok((name.clone(), within(name, value(entry, place.at(&map.types)))?)));
            Avro::Map(entries.collect::<Result<_, Invalid>>()?)
        }
        Schema::Record(record) => fields(json, record, place)?,
        Schema::Union(union) => {
            // The first that takes it; where none does, the last one's reason, which is rarely null's.
            let mut reason = Invalid::new("the union is empty");
            for (index, variant) in (0..).zip(union.variants()) {
                match value(json, place.at(variant)) {
                    Ok(value) => return Ok(Avro::Union(index, Box::new(value))),
                    Err(invalid) => reason = invalid,
                }
            }
            return Err(reason);
        }
        Schema::Decimal(decimal) => {
            let scale = place.places(decimal.scale)?;
            let number = exact(json).ok_or_else(|| wanted("a number"))?;
            let scaled = number.with_scale(scale);
            if scaled != number {
                return Err(Invalid(format!("{number} has more than {scale} places")));
            }
            if scaled.digits() > decimal.precision as u64 {
                return Err(Invalid(format!("{number} has more than {} digits", decimal.precision)));
            }
            Avro::Decimal(Decimal::from(scaled.into_bigint_and_exponent().0.to_signed_bytes_be()))
        }
        Schema::BigDecimal => Avro::BigDecimal(exact(json).ok_or_else(|| wanted("a number"))?),
        Schema::Uuid => Avro::Uuid(text()?.parse().map_err(Invalid::new)?),
        Schema::Date => Avro::Date(small()?),
        Schema::TimeMillis => Avro::TimeMillis(small()?),
        Schema::TimeMicros => Avro::TimeMicros(whole()?),
        Schema::TimestampMillis => Avro::TimestampMillis(whole()?),
        Schema::TimestampMicros => Avro::TimestampMicros(whole()?),
        Schema::TimestampNanos => Avro::TimestampNanos(whole()?),
        Schema::LocalTimestampMillis => Avro::LocalTimestampMillis(whole()?),
        Schema::LocalTimestampMicros => Avro::LocalTimestampMicros(whole()?),
        Schema::LocalTimestampNanos => Avro::LocalTimestampNanos(whole()?),
        Schema::Duration => {
            let part = |name: &str| {
                let number = json.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
                number.ok_or_else(|| wanted("an object of months, days and millis"))
            };
            let (months, days, millis) = (part("months")?, part("days")?, part("millis")?);
            Avro::Duration(Duration::new(Months::new(months), Days::new(days), Millis::new(millis)))
        }
    })
}

fn fields(json: &Value, record: &RecordSchema, place: Place<'_>) -> Result<Avro, Invalid> {
    let object = json.as_object();
    let object = object.ok_or_else(|| Invalid(format!("an object expected, {} found", kind(json))))?;
    if let Some(unknown) = object.keys().find(|name| !record.lookup.contains_key(*name)) {
        return Err(Invalid(format!("the schema has no field `{unknown}`")));
    }
    let place = place.inside(&record.name);
    let fields = record.fields.iter().map(|field| {
        let place = place.at(&field.schema);
        let value = match (object.get(&field.name), &field.default) {
            (Some(json), _) => value(json, place),
            // A default is written as Avro writes values, and not as here.
            (None, Some(default)) => {
                let default = Avro::from(default.clone());
                default.resolve_schemata(place.schema, place.all.to_vec()).map_err(Invalid::new)
            }
            (None, None) => value(&Value::Null, place).map_err(|_| Invalid::new("missing")),
        };
        Ok((field.name.clone(), within(&field.name, value)?))
    });
    Ok(Avro::Record(fields.collect::<Result<_, Invalid>>()?))
}

/// Says in which part something is wrong.
fn within<T>(part: &str, result: Result<T, Invalid>) -> Result<T, Invalid> {
    result.map_err(|Invalid(reason)| Invalid(format!("{part}: {reason}")))
}

fn kind(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn number(json: &Value) -> Option<f64> {
    match json.as_str() {
        None => json.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
    }
}

/// A decimal, as text or as a number; not one that only an exponent makes short.
fn exact(json: &Value) -> Option<BigDecimal> {
    let decimal: BigDecimal = match json {
        Value::String(text) => text.parse().ok()?,
        Value::Number(number) => number.to_string().parse().ok()?,
        _ => return None,
    };
    (decimal.fractional_digit_count().unsigned_abs() < 1_000).then_some(decimal)
}

fn base64(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD.decode_to_vec(text).map_err(|error| Invalid(format!("base64 expected: {error}")))
}
