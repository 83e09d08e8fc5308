//! The work on one batch: every record becomes an article, a dropped duplicate or a failure.
//! Archive first, then claim, then answer: whatever stops half-way is done again, and a claim
//! never stands for a page that is not archived.

use std::collections::HashMap;

use aws_lambda_events::kafka::KafkaEvent;
use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tidemill_contract::market::AHEAD;
use tidemill_contract::{Answer, ArticleCrawledEvent, ArticleNormalizedEvent, Failure, Record, records, symbols};
use trafilatura::dom::Document;
use url::Url;
use uuid::Uuid;

use crate::context::Context;
use crate::{archive, claims, extract, html, page, published};

/// The whole batch has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to tell duplicates")]
    Claims(#[from] claims::Error),
    /// See the source.
    #[error("failed to archive a page")]
    Archive(#[from] archive::Error),
    /// An article has no JSON form.
    #[error("failed to encode an article")]
    Encode(#[from] serde_json::Error),
}

/// Uploads in flight.
const UPLOADS: usize = 8;

struct Candidate<'a> {
    record: Record<'a>,
    crawled: ArticleCrawledEvent,
    article: ArticleNormalizedEvent,
}

/// Answers a batch of crawled pages.
///
/// # Errors
/// Redis or S3 is away; nothing is lost by trying again.
pub async fn handle(context: &Context, event: KafkaEvent) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for record in records(&event) {
        match normalize(&record) {
            Ok((crawled, article)) => candidates.push(Candidate { record, crawled, article }),
            Err(failure) => answer.fail(record.item(), failure),
        }
    }
    let ids: Vec<&str> = candidates.iter().map(|c| c.article.article_id.as_str()).collect();
    let mut owners: HashMap<&str, String> = claims::owners(&context.redis, &ids).await?;
    let mut firsts = Vec::new();
    for candidate in &candidates {
        let position = candidate.record.position();
        let owner = owners.entry(&candidate.article.article_id).or_insert(position.clone());
        if *owner == position {
            firsts.push(candidate);
        } else {
            answer.drop_item(candidate.record.item(), "duplicate");
        }
    }

    stream::iter(firsts.iter().map(|first| {
        let path = archive::path(first.crawled.crawled_at, &first.article.article_id);
        async move { context.archive.put(&path, &first.crawled.raw_html).await }
    }))
    .buffer_unordered(UPLOADS)
    .try_collect::<()>()
    .await?;

    // Another pod may have claimed an address since the first look.
    let claims: Vec<_> =
        firsts.iter().map(|first| (first.article.article_id.as_str(), first.record.position())).collect();
    for (first, own) in firsts.iter().zip(claims::claim(&context.redis, &claims).await?) {
        if own {
            answer.emit(first.article.article_id.clone(), &first.article)?;
        } else {
            answer.drop_item(first.record.item(), "duplicate");
        }
    }
    Ok(answer)
}

fn normalize(record: &Record<'_>) -> Result<(ArticleCrawledEvent, ArticleNormalizedEvent), Failure> {
    let crawled: ArticleCrawledEvent = record.decode()?;
    let now = Utc::now();
    if crawled.crawled_at > now + AHEAD {
        let message = format!("crawledAt must not be ahead of the clock: {}", crawled.crawled_at);
        return Err(Failure::new("MalformedEvent", message));
    }
    let fetched =
        Url::parse(&crawled.url).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            let message = format!("url must be an http or https address, not {:?}", crawled.url);
            Failure::new("MalformedEvent", message)
        })?;
    html::check(&crawled.raw_html).map_err(|what| Failure::new("NotHtml", what.to_string()))?;
    let html = html::repair(&crawled.raw_html);
    let document = Document::parse(&html);
    let main = extract::main_text(&html, &document, &fetched);
    // A body that the source's own selector found beats any heuristic.
    let selected = crawled.metadata.get("body").filter(|body| !body.trim().is_empty());
    let date = main.as_ref().and_then(|main| main.date);
    let body = selected
        .cloned()
        .or(main.map(|main| main.text))
        .ok_or_else(|| Failure::new("NoText", "the page has no text"))?;

    let url = page::canonical_url(&document, &fetched);
    let title = Some(crawled.title.trim().to_owned())
        .filter(|title| !title.is_empty())
        .or_else(|| page::title(&document))
        .unwrap_or_default();
    let published_at = crawled
        .metadata
        .get("publishedAt")
        .and_then(|text| published::parse(text))
        .filter(|time| published::believable(*time, now))
        .or_else(|| published::published(&document, now))
        .or_else(|| date.map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc()))
        .filter(|time| published::believable(*time, now))
        // A page that was there had been published, whatever the time zone of its date.
        .map_or(crawled.crawled_at, |time| time.min(crawled.crawled_at));
    let article_id = article_id(&url);
    let event_name = format!("{}/{article_id}", crawled.event_id);
    let article = ArticleNormalizedEvent {
        event_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, event_name.as_bytes()).to_string(),
        article_id,
        url: url.into(),
        symbols: symbols::symbols(&format!("{title}\n{body}")),
        language: language(&body),
        title,
        body,
        source: crawled.source.clone(),
        published_at,
        near_duplicate_of: None,
    };
    Ok((crawled, article))
}

/// The first half of the SHA-256 of the canonical address, in hex.
fn article_id(url: &Url) -> String {
    Sha256::digest(url.as_str()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn language(text: &str) -> Option<String> {
    let info = whatlang::detect(text).filter(whatlang::Info::is_reliable)?;
    let code = match info.lang() {
        whatlang::Lang::Eng => "en",
        whatlang::Lang::Kor => "ko",
        whatlang::Lang::Jpn => "ja",
        whatlang::Lang::Cmn => "zh",
        whatlang::Lang::Deu => "de",
        whatlang::Lang::Fra => "fr",
        whatlang::Lang::Spa => "es",
        whatlang::Lang::Por => "pt",
        whatlang::Lang::Ita => "it",
        whatlang::Lang::Nld => "nl",
        whatlang::Lang::Pol => "pl",
        whatlang::Lang::Rus => "ru",
        whatlang::Lang::Ukr => "uk",
        whatlang::Lang::Tur => "tr",
        whatlang::Lang::Ara => "ar",
        whatlang::Lang::Hin => "hi",
        whatlang::Lang::Vie => "vi",
        // ISO 639-3 is a valid tag where no shorter code is in use here.
        other => other.code(),
    };
    Some(code.to_owned())
}
