//! How deep a value nests, before it is decoded.
//!
//! A schema that contains itself leaves that to the bytes, and the decoder, which recurses, would
//! use up its stack where they want it to. So such values are walked through first, without keeping
//! anything; what is wrong with the bytes otherwise is left for the decoder to say.

use super::{DEPTH, Place};
use crate::schema::Invalid;
use apache_avro::Schema;
use prost::encoding::decode_varint;

/// Parts that take no bytes may be many: so many are walked through.
const PARTS: usize = 1 << 20;

/// Refuses a value that nests deeper than [`DEPTH`].
pub fn check(body: &[u8], place: Place<'_>) -> Result<(), Invalid> {
    let mut walk = Walk { rest: body, parts: PARTS + body.len() };
    match walk.value(place, 0) {
        Ok(()) | Err(Stop::End) => Ok(()),
        Err(Stop::Refused(invalid)) => Err(invalid),
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    parts: usize,
}

enum Stop {
    /// The bytes are not what the schema describes from here on: so far the decoder comes too.
    End,
    Refused(Invalid),
}

impl Walk<'_> {
    fn value(&mut self, place: Place<'_>, depth: usize) -> Result<(), Stop> {
        if depth > DEPTH {
            return Err(Stop::Refused(super::too_deep()));
        }
        self.parts = self.parts.checked_sub(1).ok_or_else(|| Stop::Refused(Invalid::new("too many parts")))?;
        match place.schema {
            Schema::Null => Ok(()),
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
                let index = usize::try_from(self.number()?).map_err(|_| Stop::End)?;
                self.value(place.at(union.variants().get(index).ok_or(Stop::End)?), depth)
            }
            Schema::Record(record) => {
                let place = place.inside(&record.name);
                record.fields.iter().try_for_each(|field| self.value(place.at(&field.schema), depth + 1))
            }
            Schema::Ref { name } => self.value(place.named(name).map_err(Stop::Refused)?, depth),
            // Whatever else there is, is a number.
            _ => self.number().map(|_| ()),
        }
    }

    /// Items in blocks: how many, or as a negative number with the block's size after it.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
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

    /// Bytes after their number.
    fn counted(&mut self) -> Result<(), Stop> {
        let length = usize::try_from(self.number()?).map_err(|_| Stop::End)?;
        self.skip(length)
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Stop> {
        self.rest = self.rest.get(bytes..).ok_or(Stop::End)?;
        Ok(())
    }

    /// A zigzag number.
    fn number(&mut self) -> Result<i64, Stop> {
        let zigzag = decode_varint(&mut self.rest).map_err(|_| Stop::End)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }
}
