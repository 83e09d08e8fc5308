//! What is remembered between crawls, in Redis under `crawl:…`: which event found a link, how often
//! an event was handled, and for each listing its validators together with its links, so that
//! "not modified" hides no link that is still to be fetched.
//!
//! An event comes again until its answer is taken or its attempts are used up, and the next event
//! comes after that. So the answer of an event that came once and was followed by another was
//! taken. Of one that came twice that cannot be said: its links are offered once more.

use std::collections::BTreeSet;

use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};
use url::Url;

/// How long a link is remembered after it was found, in seconds: 90 days.
const TTL: u64 = 90 * 24 * 60 * 60;

/// How long it is remembered how often an event came: longer than the links that name it.
const TTL_OF_EVENTS: i64 = 100 * 24 * 60 * 60;

/// Redis is away or holds something else.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis does not answer.
    #[error("failed to {action} in Redis")]
    Redis {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: redis::RedisError,
    },
    /// A listing has no JSON form.
    #[error("failed to encode a listing")]
    Encode(#[from] serde_json::Error),
}

/// What lets a server say that a page is as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Validators {
    /// The server's mark for the page.
    pub etag: Option<String>,
    /// When the server says that it changed.
    pub last_modified: Option<String>,
}

/// A page that lists articles, as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// For asking whether it has changed.
    pub validators: Validators,
    /// The addresses it linked to.
    pub links: Vec<String>,
}

impl Listing {
    /// A listing of these links.
    pub fn new(validators: Validators, links: &[Url]) -> Self {
        Self { validators, links: links.iter().map(Url::to_string).collect() }
    }

    /// The links it had.
    pub fn urls(&self) -> Vec<Url> {
        self.links.iter().filter_map(|link| Url::parse(link).ok()).collect()
    }
}

/// The listing as last seen; one that cannot be read counts as never seen.
///
/// # Errors
/// Redis does not answer.
pub async fn listing(redis: &ConnectionManager, page: &Url) -> Result<Listing, Error> {
    let json: Option<String> = redis
        .clone()
        .get(format!("crawl:page:{page}"))
        .await
        .map_err(|source| Error::Redis { action: "read a listing", source })?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

/// Remembers a listing.
///
/// # Errors
/// Redis does not answer.
pub async fn remember_listing(redis: &ConnectionManager, page: &Url, listing: &Listing) -> Result<(), Error> {
    let json = serde_json::to_string(listing)?;
    redis
        .clone()
        .set_ex(format!("crawl:page:{page}"), json, TTL)
        .await
        .map_err(|source| Error::Redis { action: "remember a listing", source })
}

/// Remembers that an event is being handled, once more where it was before.
///
/// # Errors
/// Redis does not answer.
pub async fn begin(redis: &ConnectionManager, event: &str) -> Result<(), Error> {
    let key = event_key(event);
    let mut pipeline = redis::pipe();
    pipeline.incr(&key, 1).ignore().expire(&key, TTL_OF_EVENTS).ignore();
    pipeline
        .query_async(&mut redis.clone())
        .await
        .map_err(|source| Error::Redis { action: "remember an event", source })
}

/// Those of the links that no other event has dealt with for certain, in order.
///
/// # Errors
/// Redis does not answer.
pub async fn open_links(redis: &ConnectionManager, event: &str, links: Vec<Url>) -> Result<Vec<Url>, Error> {
    if links.is_empty() {
        return Ok(links);
    }
    let keys: Vec<String> = links.iter().map(key).collect();
    let failed = |source| Error::Redis { action: "look up links", source };
    let events: Vec<Option<String>> = redis.clone().mget(keys).await.map_err(failed)?;
    let others: BTreeSet<&str> = events.iter().flatten().map(String::as_str).filter(|other| *other != event).collect();
    let mut doubtful = BTreeSet::from([event]);
    if !others.is_empty() {
        let keys: Vec<String> = others.iter().map(|other| event_key(other)).collect();
        let times: Vec<Option<u64>> = redis.clone().mget(keys).await.map_err(failed)?;
        doubtful
            .extend(others.into_iter().zip(times).filter(|(_, times)| times.is_some_and(|n| n > 1)).map(|(e, _)| e));
    }
    let open = |event: &Option<String>| event.as_deref().is_none_or(|event| doubtful.contains(event));
    Ok(links.into_iter().zip(&events).filter_map(|(link, event)| open(event).then_some(link)).collect())
}

/// Remembers that an event has dealt with links.
///
/// # Errors
/// Redis does not answer.
pub async fn remember_links(redis: &ConnectionManager, event: &str, links: &[Url]) -> Result<(), Error> {
    if links.is_empty() {
        return Ok(());
    }
    let mut pipeline = redis::pipe();
    for link in links {
        pipeline.set_ex(key(link), event, TTL).ignore();
    }
    pipeline.query_async(&mut redis.clone()).await.map_err(|source| Error::Redis { action: "remember links", source })
}

fn event_key(event: &str) -> String {
    format!("crawl:event:{event}")
}

fn key(link: &Url) -> String {
    format!("crawl:link:{link}")
}
