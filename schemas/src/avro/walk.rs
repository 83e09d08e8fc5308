//! A walk through a value before it is decoded, without keeping anything.
//!
//! The decoder recurses as deep as the bytes say, makes room for as many items as they say, and
//! takes bytes that end too early for values that are not there. Here all of that is refused first,
//! so that it decodes only what is whole and bounded.

use super::Place;
use crate::{
    bounded::{DEPTH, too_deep},
    schema::Invalid,
    zigzag,
};
use apache_avro::Schema;

/// So many parts a value may have that take no bytes.
const PARTS: usize = 1 << 16;

/// Refuses what is not one whole value, or nests deeper than [`DEPTH`].
pub fn check(body: &[u8], place: Place<'_>) -> Result<(), Invalid> {
    let mut walk = Walk { rest: body, parts: PARTS };
    walk.value(place, 0)?;
    match walk.rest.len() {
        0 => Ok(()),
        more => Err(Invalid(format!("{more} bytes are left behind the value"))),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    parts: usize,
}

impl Walk<'_> {
    fn value(&mut self, place: Place<'_>, depth: usize) -> Result<(), Invalid> {
        if depth > DEPTH {
            return Err(too_deep());
        }
        match place.schema {
            Schema::Null => self.nothing(),
            Schema::Record(record) if record.fields.is_empty() => self.nothing(),
            Schema::Boolean => self.skip(1),
            Schema::Float => self.skip(4),
            Schema::Double => self.skip(8),
            Schema::Duration => self.skip(12),
            Schema::Fixed(fixed) => self.skip(fixed.size),
            Schema::Bytes | Schema::String | Schema::BigDecimal | Schema::Uuid => self.counted(),
            Schema::Decimal(decimal) => match &*decimal.inner {
                Schema::Fixed(fixed) => self.skip(fixed.size),
                _ => self.counted(),
            },
            Schema::Array(array) => self.blocks(|walk| walk.value(place.at(&array.items), depth + 1)),
            Schema::Map(map) => self.blocks(|walk| {
                walk.counted()?;
                walk.value(place.at(&map.types), depth + 1)
            }),
            Schema::Union(union) => {
                let index = self.number()?;
                let variant = usize::try_from(index).ok().and_then(|index| union.variants().get(index));
                let variant = variant.ok_or_else(|| Invalid(format!("the union has no type {index}")))?;
                self.value(place.at(variant), depth)
            }
            Schema::Record(record) => {
                let place = place.inside(&record.name);
                record.fields.iter().try_for_each(|field| self.value(place.at(&field.schema), depth + 1))
            }
            Schema::Ref { name } => self.value(place.named(name)?, depth),
            // Whatever else there is, is a number.
            _ => self.number().map(|_| ()),
        }
    }

    /// Items in blocks: how many, or as a negative number with the block's size after it.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Invalid>) -> Result<(), Invalid> {
        loop {
            let count = self.number()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                self.number()?;
            }
            (0..count.unsigned_abs()).try_for_each(|_| item(self))?;
        }
    }

    /// A part that takes no bytes.
    fn nothing(&mut self) -> Result<(), Invalid> {
        self.parts = self.parts.checked_sub(1).ok_or_else(|| Invalid::new("the value has too many parts"))?;
        Ok(())
    }

    /// Bytes after their number.
    fn counted(&mut self) -> Result<(), Invalid> {
        let length = self.number()?;
        self.skip(usize::try_from(length).map_err(|_| Invalid(format!("{length} is no length")))?)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Invalid> {
        self.rest = self.rest.get(bytes..).ok_or_else(ends_early)?;
        Ok(())
    }

    fn number(&mut self) -> Result<i64, Invalid> {
        zigzag::take(&mut self.rest).map_err(|_| ends_early())
    }
}

fn ends_early() -> Invalid {
    Invalid::new("the bytes end within the value")
}
