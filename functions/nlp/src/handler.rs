//! The work on one batch: each article is enriched or fails with its reason.

use aws_lambda_events::kafka::KafkaEvent;
use tidemill_contract::{Answer, ArticleEnrichedEvent, ArticleNormalizedEvent, Failure, Record, records};

use crate::analysis::analyse;

/// Answers a batch of normalized articles.
///
/// # Errors
/// An article has no JSON form.
pub fn handle(event: KafkaEvent) -> Result<Answer, serde_json::Error> {
    let mut answer = Answer::default();
    for record in records(&event) {
        match enrich(&record) {
            Ok(enriched) => answer.emit(enriched.article.article_id.clone(), &enriched)?,
            Err(failure) => answer.fail(record.item(), failure),
        }
    }
    Ok(answer)
}

fn enrich(record: &Record<'_>) -> Result<ArticleEnrichedEvent, Failure> {
    let mut article: ArticleNormalizedEvent = record.decode()?;
    for (name, value) in [("articleId", &article.article_id), ("body", &article.body)] {
        if value.trim().is_empty() {
            return Err(Failure::new("MalformedEvent", format!("{name} must not be empty")));
        }
    }
    let enrichment = analyse(&article);
    article.symbols = enrichment.symbols;
    Ok(ArticleEnrichedEvent { article, sentiment: enrichment.sentiment, entities: enrichment.entities })
}
