//! Which input record owns an article. The first to claim an address keeps it, and claiming
//! again from the same place in the topic succeeds: a redelivered record is no duplicate.

use std::collections::HashMap;

use redis::aio::ConnectionManager;

/// How long a claim lasts, in seconds: 30 days, four times the retention of raw articles.
const TTL: u64 = 30 * 24 * 60 * 60;

/// Redis could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} claims of articles in Redis")]
pub struct Error {
    action: &'static str,
    source: redis::RedisError,
}

/// The owners of those of the articles that have one: articleId → position.
///
/// # Errors
/// Redis does not answer.
pub async fn owners<'a>(redis: &ConnectionManager, articles: &[&'a str]) -> Result<HashMap<&'a str, String>, Error> {
    if articles.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<String> = articles.iter().map(|article| key(article)).collect();
    let owners: Vec<Option<String>> = redis::cmd("MGET")
        .arg(keys)
        .query_async(&mut redis.clone())
        .await
        .map_err(|source| Error { action: "read", source })?;
    let pairs = articles.iter().zip(owners);
    Ok(pairs.filter_map(|(article, owner)| Some((*article, owner?))).collect())
}

/// Claims each article for a position; says for each whether that position now owns it.
///
/// # Errors
/// Redis does not answer.
pub async fn claim(redis: &ConnectionManager, claims: &[(&str, String)]) -> Result<Vec<bool>, Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    for (article, position) in claims {
        pipeline.cmd("SET").arg(key(article)).arg(position);
        pipeline.arg("NX").arg("GET").arg("EX").arg(TTL);
    }
    let owners: Vec<Option<String>> =
        pipeline.query_async(&mut redis.clone()).await.map_err(|source| Error { action: "write", source })?;
    let own = |(owner, (_, position)): (Option<String>, &(&str, String))| owner.is_none_or(|owner| owner == *position);
    Ok(owners.into_iter().zip(claims).map(own).collect())
}

fn key(article: &str) -> String {
    format!("normalize:url:{article}")
}
