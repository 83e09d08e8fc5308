//! The site's addresses. Listings and articles carry an `ETag` and answer 304 to who has them
//! already; what is not out yet is neither listed nor found.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};

use super::article::{Article, articles, sections};
use super::layout::{Entry, Layouts};

/// When articles come out.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// When the site opened.
    pub opened: DateTime<Utc>,
    /// How many articles were out then.
    pub first: usize,
    /// How often another follows; none means that all are out.
    pub every: Option<Duration>,
}

impl Release {
    /// How many articles of `all` are out at `now`.
    fn out(&self, all: usize, now: DateTime<Utc>) -> usize {
        let Some(every) = self.every.filter(|every| !every.is_zero()) else { return all };
        let since = (now - self.opened).to_std().unwrap_or_default();
        let more = since.as_millis() / every.as_millis().max(1);
        all.min(self.first.saturating_add(usize::try_from(more).unwrap_or(usize::MAX)))
    }

    /// When the article in place `nth` came out.
    fn published(&self, nth: usize) -> DateTime<Utc> {
        let before = i64::try_from(self.first.saturating_sub(nth)).unwrap_or(i64::MAX);
        match self.every {
            Some(every) if nth >= self.first => {
                let steps = u32::try_from(nth - self.first + 1).unwrap_or(u32::MAX);
                self.opened + every.saturating_mul(steps)
            }
            _ => self.opened - TimeDelta::minutes(37 * before.min(10_000)),
        }
    }
}

/// Links that a listing has besides those to the articles: copies of articles under other
/// addresses, and pages in trouble.
const EXTRAS: &[(&str, &str)] = &[
    (
        "/news/bitcoin-steadies-above-autumn-range?utm_source=front&utm_medium=teaser",
        "In case you missed it: Bitcoin steadies",
    ),
    ("/partners/shares-rally-as-inflation-cools", "From our partners: shares rally"),
    ("/old/velora-doubles-forecast", "Velora doubles its forecast"),
    ("/broken/ferry-captains", "Ferry captains and Bitcoin"),
    ("/files/quarterly-report", "Our quarterly report"),
    ("/news/ledger-outage", "What happened to our own ledger"),
    ("/subscribers/briefing", "Briefing for subscribers"),
];
const ROBOTS: &str = "User-agent: *\nDisallow: /subscribers/\n";
const BROKEN: &str = include_str!("../../news/broken.html");
/// The beginning of a document that is no page, whatever its label says.
const REPORT: &[u8] = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n\0\x01\x02\x03";

struct Site {
    articles: Vec<Article>,
    layouts: Layouts,
    release: Release,
}

/// The site.
///
/// # Errors
/// A layout does not parse.
pub fn router(release: Release) -> Result<Router, minijinja::Error> {
    let site = Site { articles: articles(), layouts: Layouts::new()?, release };
    Ok(Router::new()
        .route("/", get(front))
        .route("/robots.txt", get(async || ROBOTS))
        .route("/section/{name}", get(section))
        .route("/news/{slug}", get(article))
        .route("/partners/{slug}", get(article))
        .route("/old/{slug}", get(moved))
        .route("/broken/ferry-captains", get(async || Html(BROKEN)))
        .route("/files/quarterly-report", get(async || Html(REPORT)))
        .route("/subscribers/briefing", get(async || Html("<p>For subscribers only.</p>")))
        .with_state(Arc::new(site)))
}

async fn front(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let extras = EXTRAS.iter().map(|(path, title)| entry((*path).to_owned(), title));
    let entries: Vec<Entry> = site.out().map(|(_, article)| link(article)).chain(extras).collect();
    answer(&headers, site.layouts.index("News", &entries))
}

async fn section(State(site): State<Arc<Site>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if !sections().contains(&name.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let entries: Vec<Entry> =
        site.out().filter(|(_, article)| article.section == name).map(|(_, article)| link(article)).collect();
    answer(&headers, site.layouts.index(&name, &entries))
}

async fn article(State(site): State<Arc<Site>>, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    if slug == "ledger-outage" {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let Some((nth, article)) = site.out().find(|(_, article)| article.slug == slug) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let others = site.articles.iter().cycle().skip(nth + 1).take(3);
    let related: Vec<Entry> = others.map(link).collect();
    let published = site.release.published(nth);
    answer(&headers, site.layouts.article(nth, article, published, &related))
}

async fn moved(State(site): State<Arc<Site>>, Path(slug): Path<String>) -> Response {
    if site.out().any(|(_, article)| article.slug == slug) {
        let to = format!("/news/{slug}");
        (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response()
    } else {
        Redirect::to("/").into_response()
    }
}

impl Site {
    /// The articles that are out, with their places.
    fn out(&self) -> impl Iterator<Item = (usize, &Article)> {
        let out = self.release.out(self.articles.len(), Utc::now());
        self.articles.iter().enumerate().take(out)
    }
}

fn link(article: &Article) -> Entry {
    entry(format!("/news/{}", article.slug), &article.title)
}

fn entry(path: String, title: &str) -> Entry {
    Entry { path, title: title.to_owned() }
}

fn answer(headers: &HeaderMap, page: Result<String, minijinja::Error>) -> Response {
    let page = match page {
        Ok(page) => page,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str());
    if known {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    ([(header::ETAG, etag)], Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_come_out_one_after_another() {
        let opened: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a time");
        let at = |seconds| opened + TimeDelta::seconds(seconds);
        let release = Release { opened, first: 10, every: Some(Duration::from_secs(20)) };
        for (seconds, expected) in [(-5, 10), (0, 10), (19, 10), (20, 11), (99, 14), (9_999, 24)] {
            assert_eq!(release.out(24, at(seconds)), expected, "after {seconds} s");
        }
        assert_eq!(release.published(10), at(20));
        assert!(release.published(9) < opened);
        assert_eq!(Release { every: None, ..release }.out(24, opened), 24);
    }
}
