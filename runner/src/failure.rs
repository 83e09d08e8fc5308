//! Why a record, or an invocation, has failed.

/// The most of a kind that is kept, in bytes.
const LONGEST_KIND: usize = 256;
/// The most of a message that is kept, in bytes: it becomes a header of a dead letter, which must
/// fit beside the record.
pub const LONGEST_MESSAGE: usize = 4096;

/// Why, in the words of whoever noticed: mostly the function's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Failure {
    /// A short name, such as `MalformedEvent`: `errorType` where the function says it.
    pub kind: String,
    /// What happened: `errorMessage` where the function says it.
    pub message: String,
}

impl Failure {
    /// Both are cut to what a dead letter's topic has room for beside the record.
    pub fn new(kind: impl Into<String>, message: impl ToString) -> Self {
        Self { kind: cut(kind.into(), LONGEST_KIND), message: cut(message.to_string(), LONGEST_MESSAGE) }
    }
}

/// The text, or its beginning where it is longer than `most` bytes.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Failure, LONGEST_KIND, LONGEST_MESSAGE};

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let failure = Failure::new("ü".repeat(300), "é".repeat(5_000));
        assert!(failure.kind.len() <= LONGEST_KIND && failure.kind.ends_with("ü…"), "{}", failure.kind);
        assert!(failure.message.len() <= LONGEST_MESSAGE && failure.message.ends_with("é…"));
        assert_eq!(Failure::new("E", "short").to_string(), "E: short");
    }
}
