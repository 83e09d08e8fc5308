//! JSON that is written only so deep: who writes it recurses, and is stopped by the error.

use crate::schema::Invalid;
use std::io::{Error, Result, Write};

/// Objects and lists in each other, at most: deeper than this nobody's JSON parser reads.
pub const DEPTH: usize = 100;

/// The text so far.
#[derive(Debug, Default)]
pub struct Bounded {
    pub text: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        for byte in bytes {
            match (self.in_text, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_text = !self.in_text,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth > DEPTH {
                return Err(Error::other(too_deep()));
            }
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What is said of a value that is nested deeper than [`DEPTH`].
pub fn too_deep() -> Invalid {
    Invalid(format!("the value is nested deeper than {DEPTH}"))
}
