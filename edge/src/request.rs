//! What clients say on a socket.
//!
//! Anything that isn't understood is answered with what was expected; the socket stays open.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

/// A client's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send me this channel.
    Subscribe(String),
    /// Send it no more.
    Unsubscribe(String),
    /// Are you there?
    Ping,
}

/// Why a message wasn't understood; its text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON.
    #[error("not JSON: {EXPECTED}")]
    NotJson,
    /// JSON without a type.
    #[error("`type` is missing: {EXPECTED}")]
    NoType,
    /// A type that there isn't.
    #[error("type `{0}` is unknown: {EXPECTED}")]
    UnknownType(String),
    /// No channel, or not text.
    #[error("`channel` is missing: {EXPECTED}")]
    NoChannel,
    /// A binary frame.
    #[error("binary messages are not understood: {EXPECTED}")]
    Binary,
}

const EXPECTED: &str = r#"expected {"type":"subscribe","channel":"btcusdt"}, {"type":"unsubscribe","channel":"btcusdt"} or {"type":"ping"}"#;

impl Request {
    /// Reads a text message.
    ///
    /// # Errors
    /// When it is none of the requests.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let message: Value = serde_json::from_str(text).map_err(|_| Refusal::NotJson)?;
        let kind = message.get("type").and_then(Value::as_str).ok_or(Refusal::NoType)?;
        let channel = || message.get("channel").and_then(Value::as_str).map(str::to_owned).ok_or(Refusal::NoChannel);
        match kind {
            "subscribe" => Ok(Self::Subscribe(channel()?)),
            "unsubscribe" => Ok(Self::Unsubscribe(channel()?)),
            "ping" => Ok(Self::Ping),
            other => Err(Refusal::UnknownType(other.chars().take(40).collect())),
        }
    }
}

/// What the edge says beside channels' messages.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Reply<'a> {
    /// To a ping.
    Pong,
    /// The channel is sent no more.
    Unsubscribed {
        /// The channel.
        channel: &'a str,
    },
    /// Something wasn't understood.
    Error {
        /// What, and what was expected.
        message: &'a str,
    },
    /// The socket is about to be closed.
    #[serde(rename_all = "camelCase")]
    Closing {
        /// The close code that follows.
        code: u16,
        /// Why.
        reason: &'a str,
        /// When to come back, in ms.
        retry_after_ms: u32,
    },
}

impl Reply<'_> {
    /// The message's text.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("a reply can be written as JSON").into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Request};

    fn check(text: &str, expected: Result<Request, Refusal>) {
        assert_eq!(Request::parse(text), expected, "{text}");
    }

    #[test]
    fn requests_are_read_and_the_rest_is_explained() {
        check(r#"{"type":"subscribe","channel":"btcusdt"}"#, Ok(Request::Subscribe("btcusdt".into())));
        check(r#" {"channel":"x","type":"unsubscribe","id":1} "#, Ok(Request::Unsubscribe("x".into())));
        check(r#"{"type":"ping"}"#, Ok(Request::Ping));
        check("hello", Err(Refusal::NotJson));
        check("[]", Err(Refusal::NoType));
        check(r#"{"type":7}"#, Err(Refusal::NoType));
        check(r#"{"type":"subscribe"}"#, Err(Refusal::NoChannel));
        check(r#"{"type":"subscribe","channel":["a"]}"#, Err(Refusal::NoChannel));
        check(r#"{"type":"shout"}"#, Err(Refusal::UnknownType("shout".into())));
    }
}
