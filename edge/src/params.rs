//! What clients put into paths and queries, and the answer where it makes no sense.
//!
//! A parameter that can't be understood is refused by name; none is replaced by a default.

use axum::{
    Json,
    extract::{self, FromRequestParts},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, ops::RangeInclusive, str::FromStr};

/// A query's parameters.
#[derive(Debug, Default)]
pub struct Query(pub HashMap<String, String>);

/// The parts of a path that its route names.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Invalid;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Invalid> {
        let read = extract::Query::from_request_parts(parts, state).await;
        let extract::Query(query) =
            read.map_err(|refused| Invalid { field: "query", expected: format!("name=value&…: {refused}") })?;
        Ok(Self(query))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Invalid;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Invalid> {
        let read = extract::Path::from_request_parts(parts, state).await;
        let extract::Path(path) =
            read.map_err(|refused| Invalid { field: "path", expected: format!("UTF-8: {refused}") })?;
        Ok(Self(path))
    }
}

/// A parameter that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("`{field}` is not valid: expected {expected}")]
pub struct Invalid {
    /// The parameter.
    pub field: &'static str,
    /// What would be valid.
    pub expected: String,
}

impl IntoResponse for Invalid {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
            #[serde(flatten)]
            invalid: Invalid,
        }
        let error = self.to_string();
        (StatusCode::BAD_REQUEST, Json(Body { error, invalid: self })).into_response()
    }
}

/// The interval of a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(&'static str);

impl Interval {
    const NAMES: [&'static str; 6] = ["1m", "5m", "15m", "1h", "4h", "1d"];

    /// The name in channels and keys.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Reads an interval's name.
    ///
    /// # Errors
    /// When there is no such interval.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let expected = || format!("one of {}", Self::NAMES.join(", "));
        let name = Self::NAMES.into_iter().find(|name| *name == text);
        name.map(Self).ok_or_else(|| Invalid { field: "interval", expected: expected() })
    }
}

/// Reads a symbol in either case.
///
/// # Errors
/// When it can't be a symbol.
pub fn symbol(text: &str) -> Result<String, Invalid> {
    if (1..=32).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_ascii_uppercase());
    }
    let expected = "a symbol such as BTCUSDT: 1 to 32 letters, digits, `.`, `_` or `-`".to_owned();
    Err(Invalid { field: "symbol", expected })
}

/// Reads the exchange, if one is named, in the lower case that channels have.
///
/// # Errors
/// When it can't be an exchange.
pub fn exchange(query: &Query) -> Result<Option<String>, Invalid> {
    let Some(text) = query.0.get("exchange") else { return Ok(None) };
    if (1..=32).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(Some(text.to_ascii_lowercase()));
    }
    let expected = "an exchange such as binance: 1 to 32 letters, digits, `.`, `_` or `-`".to_owned();
    Err(Invalid { field: "exchange", expected })
}

/// The channel of a symbol's candles; without an exchange, of those of its first one.
pub fn candles(symbol: &str, exchange: Option<&str>, interval: Interval) -> String {
    match exchange {
        Some(exchange) => format!("{symbol}@{exchange}:{}", interval.name()),
        None => format!("{symbol}:{}", interval.name()),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Reads a parameter that must be there.
///
/// # Errors
/// When it is missing.
pub fn required<'a>(query: &'a Query, field: &'static str, expected: &str) -> Result<&'a str, Invalid> {
    query.0.get(field).map(String::as_str).ok_or_else(|| Invalid { field, expected: expected.to_owned() })
}

/// Reads a number, or takes the default where there is none.
///
/// # Errors
/// When it is no number, or out of range.
pub fn number(
    query: &Query,
    field: &'static str,
    range: RangeInclusive<usize>,
    default: usize,
) -> Result<usize, Invalid> {
    let Some(text) = query.0.get(field) else { return Ok(default) };
    usize::from_str(text)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| Invalid { field, expected: format!("a whole number from {} to {}", range.start(), range.end()) })
}

#[cfg(test)]
mod tests {
    use super::{Interval, Query, number, symbol};
    use std::collections::HashMap;

    #[test]
    fn symbols_are_read_in_either_case_and_nothing_else_passes() {
        for (text, expected) in [
            ("btcusdt", Some("BTCUSDT")),
            ("005930", Some("005930")),
            ("BRK.B", Some("BRK.B")),
            ("", None),
            ("a b", None),
            ("a:b", None),
            ("é", None),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456", None),
        ] {
            assert_eq!(symbol(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn numbers_have_a_range_and_a_default() {
        let read = |text: &str| {
            let query = Query(HashMap::from([("size".to_owned(), text.to_owned())]));
            number(&query, "size", 1..=100, 20).ok()
        };
        for (text, expected) in
            [("1", Some(1)), ("100", Some(100)), ("0", None), ("101", None), ("-1", None), ("x", None), ("", None)]
        {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(number(&Query::default(), "size", 1..=100, 20), Ok(20));
    }

    #[test]
    fn an_unknown_interval_is_told_the_known_ones() {
        assert_eq!(Interval::parse("15m").map(Interval::name), Ok("15m"));
        let error = Interval::parse("2m").expect_err("there is none");
        assert_eq!(error.to_string(), "`interval` is not valid: expected one of 1m, 5m, 15m, 1h, 4h, 1d");
    }
}
