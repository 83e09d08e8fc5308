//! The work on one event of the clock: crawl every source, remember what was dealt with under
//! the event's id, answer the pages.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use futures::future::try_join_all;
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use tidemill_contract::Answer;
use tokio::time::Instant;

use crate::context::Context;
use crate::memory;
use crate::source::{self, Limits};

/// Most bytes of one answer, as it is encoded: less than Lambda's 6 MiB.
const BYTES: usize = 5 * 1024 * 1024;
/// Left of the invocation's time for remembering and answering, and for a last slow page.
const SPARE: Duration = Duration::from_secs(35);

/// The event has to be handled again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to remember links")]
    Memory(#[from] memory::Error),
    /// See the source.
    #[error("failed to crawl")]
    Crawl(#[from] source::Error),
    /// An article has no JSON form.
    #[error("failed to encode an article")]
    Encode(#[from] serde_json::Error),
    /// Redelivery could not be told from a new event.
    #[error("the event has no id; a schedule's event was expected")]
    NoId,
}

/// Answers an event of the clock with the new pages of all sources.
///
/// # Errors
/// Redis is away; the same event can be handled again.
pub async fn handle(context: &Context, event: LambdaEvent<EventBridgeEvent<Value>>) -> Result<Answer, Error> {
    let id = event.payload.id.filter(|id| !id.is_empty()).ok_or(Error::NoId)?;
    let left = event.context.deadline().duration_since(std::time::SystemTime::now());
    let left = left.unwrap_or_default();
    memory::begin(&context.redis, &id).await?;
    let room = AtomicUsize::new(BYTES);
    let limits =
        Limits { event: &id, deadline: Instant::now() + left.saturating_sub(SPARE).max(left / 4), room: &room };
    let crawls = context.sources.iter().map(|source| source::crawl(source, &context.fetcher, &context.redis, limits));
    let crawled = try_join_all(crawls).await?;

    let mut answer = Answer::default();
    let too_large: usize = crawled.iter().map(|crawled| crawled.too_large).sum();
    for crawled in crawled {
        for article in &crawled.articles {
            answer.emit(article.url.clone(), article)?;
        }
        memory::remember_links(&context.redis, &id, &crawled.links).await?;
    }
    tracing::info!(event = id, pages = answer.records.len(), too_large, "crawled");
    Ok(answer)
}
