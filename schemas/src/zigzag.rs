//! Whole numbers as Avro writes them, and Protobuf its `sint64`: small ones of either sign are short.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, sint64},
};

/// Takes the number that the bytes begin with.
pub fn take(bytes: &mut &[u8]) -> Result<i64, DecodeError> {
    let mut number = 0;
    sint64::merge(WireType::Varint, &mut number, bytes, DecodeContext::default())?;
    Ok(number)
}
