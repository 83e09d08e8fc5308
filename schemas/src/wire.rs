//! Confluent's wire format: a zero, the schema's id as four bytes, and what the schema describes.
//!
//! <https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>

/// The byte that all begin with.
const MAGIC: u8 = 0;
/// How many bytes stand before the body.
const HEAD: usize = 5;

/// The schema's id and the body; `None` where the bytes are not in this format.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(u32, &[u8])> {
    match bytes.split_first_chunk::<HEAD>()? {
        ([MAGIC, id @ ..], body) => Some((u32::from_be_bytes(*id), body)),
        _ => None,
    }
}

/// The bytes before a body that the schema of that id describes.
#[must_use]
pub fn head(id: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(MAGIC);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::{head, split};

    #[test]
    fn only_a_zero_and_an_id_are_a_head() {
        let check = |bytes: &[u8], expected: Option<(u32, &[u8])>| assert_eq!(split(bytes), expected, "{bytes:?}");
        check(&[0, 0, 0, 1, 2, 7, 8], Some((258, &[7, 8])));
        check(&[0, 0xff, 0xff, 0xff, 0xff], Some((u32::MAX, &[])));
        check(&[0, 0, 0, 1], None);
        check(&[1, 0, 0, 0, 1, 7], None);
        check(b"{\"a\":1}", None);
        assert_eq!(split(&head(258)), Some((258, &[][..])));
    }
}
