//! The article events, in the order in which they come to be: crawled, normalized, enriched.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A page as it was fetched; the record's key is `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArticleCrawledEvent {
    /// The same again when the same page is offered again.
    pub event_id: String,
    /// The canonical form of the address that answered, after redirects.
    pub url: String,
    /// The page's title as the source's configuration finds it; may be empty.
    #[serde(default)]
    pub title: String,
    /// The page.
    pub raw_html: String,
    /// The name of the source.
    pub source: String,
    /// When the page was fetched.
    pub crawled_at: DateTime<Utc>,
    /// What else the crawler knows: `link`, `contentType`, `publishedAt`, `body`.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// An article's text and what is known about it; the record's key is `articleId`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArticleNormalizedEvent {
    /// The same again when the same input record is processed again.
    pub event_id: String,
    /// A digest of the canonical `url`.
    pub article_id: String,
    /// The article's canonical address.
    pub url: String,
    /// The article's title; may be empty.
    pub title: String,
    /// The main text, paragraphs separated by line breaks.
    pub body: String,
    /// The name of the source.
    pub source: String,
    /// When the article was published, by its own account; when fetched, if it does not say.
    pub published_at: DateTime<Utc>,
    /// Tickers the article mentions, in the order of mention.
    #[serde(default)]
    pub symbols: Vec<String>,
    /// ISO 639-1 code of the text's language, where it is long enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The earlier article whose text this one mostly repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_duplicate_of: Option<String>,
}

/// A normalized article with what its text says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArticleEnrichedEvent {
    /// The article; its `symbols` include those found in the text.
    #[serde(flatten)]
    pub article: ArticleNormalizedEvent,
    /// Whether the article is good or bad news.
    pub sentiment: Sentiment,
    /// What the article names, in the order of appearance.
    pub entities: Vec<Entity>,
}

/// Whether a text is good or bad news for what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// The verdict.
    pub label: Label,
    /// From −1, all bad, to 1, all good.
    pub score: f64,
}

/// A verdict on a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Good news.
    Bullish,
    /// Bad news.
    Bearish,
    /// Neither.
    Neutral,
}

/// Something a text names. Offsets count characters of the article's `body`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The text as it stands in the body.
    pub text: String,
    /// What it is.
    pub kind: EntityKind,
    /// The first character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// What an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// A ticker or the name of what it stands for.
    Ticker,
    /// A company, authority or other body.
    Organization,
    /// A person.
    Person,
    /// An amount of money.
    Money,
    /// A percentage.
    Percent,
}
