//! One alternative of a leaf, against one scalar.

use crate::{
    ignore_case,
    number::{Bounds, Number},
    wildcard::Wildcard,
};
use ipnet::IpNet;
use std::net::IpAddr;

/// A value that has no parts.
#[derive(Clone, Copy, Debug)]
pub enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(&'a serde_json::Number),
    Text(&'a str),
    /// Bytes that are no text: they are there, and equal to nothing that a pattern can say.
    Opaque,
}

/// What a scalar must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// There, whatever it is.
    Exists,
    Null,
    Bool(bool),
    Number(Bounds),
    Text(TextTest),
    /// None of these.
    AnythingBut(Vec<Test>),
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq)]
pub enum TextTest {
    Equals(String),
    EqualsIgnoreCase(String),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    Wildcard(Wildcard),
    Cidr(IpNet),
}

impl Test {
    pub fn matches(&self, scalar: Scalar<'_>) -> bool {
        match (self, scalar) {
            (Self::Exists, _) | (Self::Null, Scalar::Null) => true,
            (_, Scalar::Opaque) => false,
            (Self::Bool(expected), Scalar::Bool(found)) => *expected == found,
            (Self::Number(bounds), Scalar::Number(found)) => Number::of(found).is_some_and(|found| bounds.hold(found)),
            (Self::Text(test), Scalar::Text(text)) => test.matches(text),
            (Self::AnythingBut(tests), found) => !tests.iter().any(|test| test.matches(found)),
            _ => false,
        }
    }
}

impl TextTest {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equals(expected) => text == expected,
            Self::EqualsIgnoreCase(expected) => ignore_case::equals(text, expected),
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::PrefixIgnoreCase(prefix) => ignore_case::begins(text, prefix),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::SuffixIgnoreCase(suffix) => ignore_case::ends(text, suffix),
            Self::Wildcard(wildcard) => wildcard.matches(text),
            Self::Cidr(range) => text.parse::<IpAddr>().is_ok_and(|address| range.contains(&address)),
        }
    }
}
