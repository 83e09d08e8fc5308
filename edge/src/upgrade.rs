//! The WebSocket opening handshake (RFC 6455, section 4.2) on a request that hyper has parsed.
//!
//! A request that isn't a handshake is answered with what is missing.

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha1_smol::Sha1;
use tokio_websockets::{Limits, ServerBuilder, WebSocketStream};

/// A socket on an upgraded HTTP connection.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Bytes that a client's message may have.
pub const MAX_MESSAGE: usize = 4096;

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a request isn't a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A plain request.
    #[error("this is a WebSocket endpoint: connect with `Upgrade: websocket`")]
    NotWebSocket,
    /// Another version of the protocol.
    #[error("`Sec-WebSocket-Version` must be 13")]
    Version,
    /// No key.
    #[error("`Sec-WebSocket-Key` is missing")]
    Key,
}

impl IntoResponse for Error {
    fn into_response(self) -> axum::response::Response {
        let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
        (StatusCode::UPGRADE_REQUIRED, headers, Json(json!({"error": self.to_string()}))).into_response()
    }
}

/// A handshake that can be completed.
pub struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Reads the handshake in `request`.
    ///
    /// # Errors
    /// When it holds none.
    pub fn parse(mut request: Request) -> Result<Self, Error> {
        let key = key(request.headers())?;
        let accept = accept(key.as_bytes());
        let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or(Error::NotWebSocket)?;
        Ok(Self { accept, upgrade })
    }

    /// The answer, and the socket to come once it has been sent.
    pub fn complete(self) -> (axum::response::Response, impl Future<Output = hyper::Result<Socket>>) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().extend([
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, self.accept),
        ]);
        let upgrade = self.upgrade;
        let socket = async move {
            let limits = Limits::default().max_payload_len(Some(MAX_MESSAGE));
            Ok(ServerBuilder::new().limits(limits).serve(TokioIo::new(upgrade.await?)))
        };
        (response, socket)
    }
}

fn key(headers: &HeaderMap) -> Result<&HeaderValue, Error> {
    if !has_token(headers, &header::CONNECTION, "upgrade") || !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(Error::NotWebSocket);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Error::Version);
    }
    headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Error::Key)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn accept(key: &[u8]) -> HeaderValue {
    let mut sha1 = Sha1::from(key);
    sha1.update(GUID.as_bytes());
    HeaderValue::from_str(&STANDARD.encode(sha1.digest().bytes())).expect("base64 is a header value")
}

#[cfg(test)]
mod tests {
    use super::{Error, accept, key};
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn the_key_of_the_rfc_gives_the_answer_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_handshake_needs_all_its_headers() {
        let complete = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "k"),
        ];
        let without = |name: &str| {
            let headers = complete.iter().filter(|(other, _)| *other != name);
            let parse = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            key(&headers.map(parse).collect::<HeaderMap>()).map(HeaderValue::as_bytes).map(<[u8]>::to_vec)
        };
        assert_eq!(without(""), Ok(b"k".to_vec()));
        assert_eq!(without("connection"), Err(Error::NotWebSocket));
        assert_eq!(without("upgrade"), Err(Error::NotWebSocket));
        assert_eq!(without("sec-websocket-version"), Err(Error::Version));
        assert_eq!(without("sec-websocket-key"), Err(Error::Key));
    }
}
