//! One crawl of one source: its listings, then the articles they newly link to. A link is dealt
//! with when its page is taken or can never be; what may come later is left for the next event.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::Utc;
use redis::aio::ConnectionManager;
use tidemill_contract::{ArticleCrawledEvent, canonical::canonical, start::chain};
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use crate::charset;
use crate::config::Source;
use crate::fetch::{self, Fetched, Fetcher, Page, Robots};
use crate::memory::{self, Listing, Validators};
use crate::page;

/// Largest article, encoded: what a topic takes by default, 1 MiB, less what the record is wrapped
/// in.
const LARGEST: usize = 1_000_000;
/// What an answer adds to an article and its key, at most.
const WRAPPING: usize = 64;

/// The crawl has to be done again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to recall what was crawled")]
    Memory(#[from] memory::Error),
    /// An article has no JSON form.
    #[error("failed to encode an article")]
    Encode(#[from] serde_json::Error),
}

/// What a crawl gave.
#[derive(Debug, Default)]
pub struct Crawled {
    /// The articles, in the order of their links.
    pub articles: Vec<ArticleCrawledEvent>,
    /// The links dealt with, those of the articles included.
    pub links: Vec<Url>,
    /// How many pages were left out since no record can hold them.
    pub too_large: usize,
}

/// The event that a crawl belongs to, and how far it may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// The event's id.
    pub event: &'a str,
    /// When to stop; the rest is left for the next event.
    pub deadline: Instant,
    /// Bytes left in the answer, as all sources fill it.
    pub room: &'a AtomicUsize,
}

impl Limits<'_> {
    /// Whether nothing more can be begun.
    fn reached(&self) -> bool {
        Instant::now() >= self.deadline || self.room.load(Ordering::Relaxed) == 0
    }

    /// Takes room for an article; where there is too little, nothing more is begun.
    fn take(&self, bytes: usize) -> bool {
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes));
        if taken.is_err() {
            self.room.store(0, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

/// Crawls a source.
///
/// # Errors
/// Redis is away. A site that is away is no error: it is asked again at the next event.
pub async fn crawl(
    source: &Source,
    fetcher: &Fetcher,
    redis: &ConnectionManager,
    limits: Limits<'_>,
) -> Result<Crawled, Error> {
    let mut robots = Robots::default();
    let mut links = Vec::new();
    for start in &source.start {
        for link in listing(source, start, fetcher, redis, &mut robots).await? {
            if !links.contains(&link) {
                links.push(link);
            }
        }
    }
    let mut crawled = Crawled::default();
    for link in memory::open_links(redis, limits.event, links).await? {
        if limits.reached() {
            break;
        }
        match fetcher.fetch(&link, source.delay, &Validators::default(), &mut robots).await {
            Ok(Fetched::Page(page)) => {
                if let Some(article) = article(source, limits.event, &link, page) {
                    let bytes = serde_json::to_vec(&article)?.len();
                    if bytes > LARGEST {
                        tracing::warn!(%link, bytes, "larger than a record can be, left out");
                        crawled.too_large += 1;
                    } else if limits.take(bytes + article.url.len() + WRAPPING) {
                        crawled.articles.push(article);
                    } else {
                        break;
                    }
                }
                crawled.links.push(link);
            }
            Err(error) if error.is_passing() => {
                tracing::warn!(%link, error = chain(&error), "not fetched, will be tried again");
            }
            Err(error) => {
                tracing::warn!(%link, error = chain(&error), "not fetched, given up");
                crawled.links.push(link);
            }
            Ok(Fetched::NotModified) => {
                tracing::warn!(%link, "answered as not modified without being asked");
            }
        }
    }
    if limits.reached() {
        tracing::info!(source = source.name, "out of time or space, the rest comes next time");
    }
    Ok(crawled)
}

/// The links of a listing; those of last time if it has not changed or cannot be had.
async fn listing(
    source: &Source,
    url: &Url,
    fetcher: &Fetcher,
    redis: &ConnectionManager,
    robots: &mut Robots,
) -> Result<Vec<Url>, memory::Error> {
    let known = memory::listing(redis, url).await?;
    match fetcher.fetch(url, source.delay, &known.validators, robots).await {
        Ok(Fetched::Page(page)) => {
            let html = charset::decode(&page.bytes, page.content_type.as_deref());
            let links = page::links(&html, &page.url, &source.article);
            if links.is_empty() {
                tracing::warn!(%url, source = source.name, "no link matches the selector `article`");
            }
            let listing = Listing::new(page.validators, &links);
            memory::remember_listing(redis, url, &listing).await?;
            Ok(links)
        }
        Ok(Fetched::NotModified) => Ok(known.urls()),
        Err(error @ fetch::Error::Disallowed(_)) => {
            tracing::warn!(%url, %error, "listing not fetched");
            Ok(Vec::new())
        }
        Err(error) => {
            tracing::warn!(%url, error = chain(&error), "listing not fetched");
            Ok(known.urls())
        }
    }
}

fn article(source: &Source, event: &str, link: &Url, page: Page) -> Option<ArticleCrawledEvent> {
    let kind = page.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    // What calls itself HTML and is not goes on: normalize says so where people look.
    if !kind.is_empty() && !kind.contains("html") {
        tracing::info!(%link, content_type = kind, "not a page, left out");
        return None;
    }
    let html = charset::decode(&page.bytes, page.content_type.as_deref());
    let mut fields = page::fields(&html, source);
    fields.metadata.insert("link".to_owned(), link.to_string());
    if let Some(content_type) = page.content_type {
        fields.metadata.insert("contentType".to_owned(), content_type);
    }
    let name = format!("{event}/{link}");
    Some(ArticleCrawledEvent {
        event_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string(),
        url: canonical(&page.url).into(),
        title: fields.title,
        raw_html: html,
        source: source.name.clone(),
        crawled_at: Utc::now(),
        metadata: fields.metadata,
    })
}
