//! Where in the streams a message stands: the epoch, and the id of the last entry by stream.
//!
//! Ids of one epoch can be compared; a new epoch means that Redis lost its ids, and no position
//! of the old one says anything about the new.

use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

/// A stream entry's id: the Kafka offset of its record, and which message of that record it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Kafka offset.
    pub offset: u64,
    /// 1, 2, … within the record.
    pub n: u64,
}

impl EntryId {
    /// Before every entry.
    pub const ZERO: Self = Self { offset: 0, n: 0 };
}

impl FromStr for EntryId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = |part: &str| part.parse().map_err(|_| Error(text.to_owned()));
        let (offset, n) = text.split_once('-').ok_or_else(|| Error(text.to_owned()))?;
        Ok(Self { offset: parse(offset)?, n: parse(n)? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.offset, self.n)
    }
}

/// A stream entry's id that isn't `<offset>-<n>`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no stream entry id")]
pub struct Error(String);

/// A stream's Redis key, `stream:<topic>:<partition>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The Redis key.
    pub fn key(&self) -> &str {
        &self.0
    }

    /// The key without its prefix, as clients see it.
    fn label(&self) -> &str {
        self.0.strip_prefix("stream:").unwrap_or(&self.0)
    }
}

impl From<&str> for StreamName {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

/// The last entry taken of each stream.
pub type Cursors = BTreeMap<StreamName, EntryId>;

/// The name of one life of Redis' ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<&str> for Epoch {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// What a client hands back to go on where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The life of the ids in `offset`.
    pub epoch: Epoch,
    /// `<topic>:<partition>@<id>` of each stream that feeds the channel, joined by commas. A
    /// stream that isn't named had given nothing yet.
    pub offset: String,
}

impl Position {
    /// The position after the last entries in `ids`.
    pub fn new<'a>(epoch: &Epoch, ids: impl IntoIterator<Item = (&'a StreamName, EntryId)>) -> Self {
        let mut offset = String::new();
        for (stream, id) in ids {
            if !offset.is_empty() {
                offset.push(',');
            }
            offset.push_str(stream.label());
            offset.push('@');
            offset.push_str(&id.to_string());
        }
        Self { epoch: epoch.clone(), offset }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryId, Epoch, Position, StreamName};

    #[test]
    fn ids_are_ordered_as_numbers_not_as_text() {
        let id = |text: &str| text.parse::<EntryId>().expect("a valid id");
        assert!(id("9-1") < id("10-1"));
        assert!(id("10-2") < id("10-10"));
        assert_eq!(id("18446744073709551615-3").to_string(), "18446744073709551615-3");
        for bad in ["", "1", "1-", "-1", "a-1", "1-2-3"] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_position_names_every_stream() {
        let (a, b) = (StreamName::from("stream:news:0"), StreamName::from("stream:news:1"));
        let position = Position::new(&Epoch::from("e1"), [(&a, EntryId { offset: 7, n: 1 }), (&b, EntryId::ZERO)]);
        assert_eq!(
            serde_json::to_string(&position).expect("serializes"),
            r#"{"epoch":"e1","offset":"news:0@7-1,news:1@0-0"}"#
        );
    }
}
