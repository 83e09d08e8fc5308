//! A message's two forms: the stream entry that came from Redis, and the frame clients get.
//!
//! A frame is encoded once; what differs between receivers is only how many older values a slow
//! one skipped, and that is appended behind the shared part.

use crate::position::{EntryId, Position, StreamName};
use bytes::Bytes;
use chrono::DateTime;
use serde::Deserialize;
use std::{borrow::Cow, ops::Range};

/// What a message is about, and with that how a slow client is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A trade's price: the latest one replaces those before.
    Price,
    /// A news article: an event, never replaced.
    Article,
    /// A candle: the latest state of an open time replaces those before.
    Candle,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Price, Self::Article, Self::Candle];

    /// The name in streams, messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Article => "article",
            Self::Candle => "candle",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a later value makes earlier ones of the same key worthless.
    pub fn is_keyed(self) -> bool {
        !matches!(self, Self::Article)
    }
}

/// One stream entry, as read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The stream it stands in.
    pub stream: StreamName,
    /// Its id there.
    pub id: EntryId,
    /// What it is.
    pub kind: Kind,
    /// Where subscribers listen.
    pub channel: String,
    /// The message's body.
    pub body: Body,
}

/// A message's body: one JSON object that has been looked at.
#[derive(Clone, Debug)]
pub struct Body {
    json: Vec<u8>,
    /// Which value of the channel this is: a candle's open time, otherwise 0.
    pub item: i64,
    /// Values of one item with a lower rank are older: a price's time in ms, otherwise 0.
    pub rank: i64,
}

impl Body {
    /// Checks `json` as a body of `kind`.
    ///
    /// # Errors
    /// When it isn't an object with the fields that `kind` needs.
    pub fn parse(kind: Kind, json: Vec<u8>) -> Result<Self, Error> {
        let (item, rank) = match kind {
            Kind::Price => {
                let price: PriceFields = serde_json::from_slice(&json)?;
                if price.symbol.is_empty() {
                    return Err(Error::Empty("symbol"));
                }
                let time = DateTime::parse_from_rfc3339(&price.timestamp)?;
                (0, time.timestamp_millis())
            }
            Kind::Article => {
                let article: ArticleFields = serde_json::from_slice(&json)?;
                if article.article_id.is_empty() {
                    return Err(Error::Empty("articleId"));
                }
                (0, 0)
            }
            Kind::Candle => (serde_json::from_slice::<CandleFields>(&json)?.time, 0),
        };
        let json = json.trim_ascii().to_vec();
        if json.first() != Some(&b'{') {
            return Err(Error::NoObject);
        }
        Ok(Self { json, item, rank })
    }

    /// What stands between the object's braces; never empty.
    fn fields(&self) -> &[u8] {
        &self.json[1..self.json.len() - 1]
    }
}

/// Why a body was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON that this kind is.
    #[error("not the JSON expected")]
    Json(#[from] serde_json::Error),
    /// Not an object: a struct may also be read from an array.
    #[error("not a JSON object")]
    NoObject,
    /// A price's time isn't RFC 3339.
    #[error("`timestamp` is not RFC 3339")]
    Time(#[from] chrono::ParseError),
    /// A field that names the thing is empty.
    #[error("`{0}` is empty")]
    Empty(&'static str),
}

#[derive(Deserialize)]
struct PriceFields<'a> {
    #[serde(borrow)]
    symbol: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArticleFields<'a> {
    #[serde(borrow)]
    article_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct CandleFields {
    time: i64,
}

/// What a newer update replaces: a value of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The channel, by its number in the hub.
    pub channel: u64,
    /// [`Body::item`].
    pub item: i64,
}

/// A message as clients get it, shared by all its receivers.
#[derive(Debug)]
pub struct Update {
    /// The kind, for policy and metrics.
    pub kind: Kind,
    /// What a newer update replaces.
    pub key: Key,
    /// [`Body::rank`].
    pub rank: i64,
    /// Values left out before this one, for every receiver alike.
    pub skipped: u32,
    frame: Bytes,
    fields: Range<usize>,
    /// Length of the part before `skipped`.
    shared: usize,
}

impl Update {
    /// Encodes `body` for everyone who listens on `channel`.
    pub fn encode(kind: Kind, key: Key, channel: &str, body: &Body, position: &Position, skipped: u32) -> Self {
        let mut out = Vec::with_capacity(body.json.len() + channel.len() + position.offset.len() + 128);
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(kind.name().as_bytes());
        out.extend_from_slice(br#"","channel":"#);
        append_json(&mut out, &channel);
        out.push(b',');
        let start = out.len();
        out.extend_from_slice(body.fields());
        let fields = start..out.len();
        out.extend_from_slice(br#","position":"#);
        append_json(&mut out, position);
        let shared = out.len();
        append_skipped(&mut out, skipped);
        Self { kind, key, rank: body.rank, skipped, frame: out.into(), fields, shared }
    }

    /// The frame for a receiver that missed `more` values beside those that all missed.
    pub fn frame(&self, more: u32) -> Bytes {
        if more == 0 { self.frame.clone() } else { self.frame_with(self.skipped.saturating_add(more)) }
    }

    /// The frame for a receiver that only now begins, and so missed nothing.
    pub fn first_frame(&self) -> Bytes {
        if self.skipped == 0 { self.frame.clone() } else { self.frame_with(0) }
    }

    /// The body's object, without what the edge added.
    pub fn body(&self) -> Vec<u8> {
        let fields = &self.frame[self.fields.clone()];
        [b"{".as_slice(), fields, b"}"].concat()
    }

    fn frame_with(&self, skipped: u32) -> Bytes {
        let mut out = Vec::with_capacity(self.shared + 24);
        out.extend_from_slice(&self.frame[..self.shared]);
        append_skipped(&mut out, skipped);
        out.into()
    }
}

fn append_json(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    serde_json::to_writer(out, value).expect("text and positions can be written as JSON");
}

fn append_skipped(out: &mut Vec<u8>, skipped: u32) {
    if skipped > 0 {
        out.extend_from_slice(br#","skipped":"#);
        append_json(out, &skipped);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::{Body, Key, Kind, Update};
    use crate::position::{EntryId, Epoch, Position, StreamName};

    fn check_body(kind: Kind, json: &str, expected: Option<(i64, i64)>) {
        let parsed = Body::parse(kind, json.as_bytes().to_vec()).ok().map(|body| (body.item, body.rank));
        assert_eq!(parsed, expected, "{} {json}", kind.name());
    }

    #[test]
    fn bodies_are_checked_by_kind() {
        check_body(Kind::Price, r#"{"symbol":"A","timestamp":"1970-01-01T00:00:02.5Z"}"#, Some((0, 2500)));
        check_body(Kind::Price, r#"{"symbol":"A","timestamp":"yesterday"}"#, None);
        check_body(Kind::Price, r#"{"symbol":"","timestamp":"1970-01-01T00:00:02Z"}"#, None);
        check_body(Kind::Price, r#"["A","1970-01-01T00:00:02Z"]"#, None);
        check_body(Kind::Article, r#"{"articleId":"x","title":"a \"b\""}"#, Some((0, 0)));
        check_body(Kind::Article, r#"{"title":"x"}"#, None);
        check_body(Kind::Candle, " {\"time\":60,\"open\":1.5}\n", Some((60, 0)));
        check_body(Kind::Candle, r#"{"time":"60"}"#, None);
    }

    #[test]
    fn a_frame_is_json_whoever_skipped_how_many() {
        let body = Body::parse(Kind::Candle, b" {\"time\":60,\"open\":1.5} ".to_vec()).expect("a candle");
        let stream = StreamName::from("stream:candles:0");
        let position = Position::new(&Epoch::from("e"), [(&stream, EntryId { offset: 3, n: 1 })]);
        let key = Key { channel: 1, item: 60 };
        let update = Update::encode(Kind::Candle, key, "A:1m", &body, &position, 2);
        for (frame, skipped) in [(update.frame(0), Some(2)), (update.frame(5), Some(7)), (update.first_frame(), None)] {
            let json: serde_json::Value = serde_json::from_slice(&frame).expect("a frame is JSON");
            assert_eq!(json["type"], "candle");
            assert_eq!(json["channel"], "A:1m");
            assert_eq!(json["open"], 1.5);
            assert_eq!(json["position"]["offset"], "candles:0@3-1");
            assert_eq!(json["skipped"].as_u64(), skipped);
        }
        assert_eq!(update.body(), br#"{"time":60,"open":1.5}"#);
    }
}
