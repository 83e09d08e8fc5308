//! Writes messages: one script for each record adds to the stream and brings the snapshot up to
//! date, so that a reader sees both or neither; a batch's scripts travel together. What a record
//! is to those before it is decided on the partition's life, and each script writes only if that
//! life is still the one that the decision was made on.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;
use redis::aio::ConnectionManager;
use tidemill_contract::life::Point;
use tidemill_contract::{Life, Record, Taken};

use crate::message::{Message, Snapshot};

/// About this many entries stay in a stream.
const STREAM_LENGTH: u32 = 10_000;
/// Articles kept for those who come later.
const ARTICLES: u32 = 1_000;
/// Candles kept of each symbol and interval.
const CANDLES: u32 = 2_000;
/// How often a batch is written before it is left to the runner's retries.
const ATTEMPTS: u32 = 20;
/// The pause after the first attempt; it grows by as much with each.
const PAUSE: Duration = Duration::from_millis(2);

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));

/// The batch is not written, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis is away or refuses.
    #[error("failed to write {messages} messages to Redis")]
    Redis {
        /// How many there are.
        messages: usize,
        /// Why.
        source: redis::RedisError,
    },
    /// What was taken of a partition is not of this version's making.
    #[error("{key} is not readable; delete it")]
    Unreadable {
        /// The value's key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A life has no JSON form.
    #[error("failed to encode a partition's life")]
    Encode(#[from] serde_json::Error),
    /// Two consumers have one partition, as in a rebalance.
    #[error("another consumer goes on writing the same partitions")]
    Stale,
}

/// Writes a batch in order; gives how many had not been written before.
///
/// # Errors
/// Redis is away; writing the batch again completes it.
pub async fn write(redis: &ConnectionManager, messages: &[(Record<'_>, Message)]) -> Result<usize, Error> {
    if messages.is_empty() {
        return Ok(0);
    }
    let mut new = 0;
    for attempt in 1..=ATTEMPTS {
        let written = write_new(redis, messages).await?;
        new += written.iter().filter(|written| **written == WRITTEN).count();
        if !written.contains(&MOVED) {
            return Ok(new);
        }
        tokio::time::sleep(PAUSE * attempt).await;
    }
    Err(Error::Stale)
}

/// What the script says of a record.
const WRITTEN: i8 = 1;
const MOVED: i8 = -1;

async fn write_new(redis: &ConnectionManager, messages: &[(Record<'_>, Message)]) -> Result<Vec<i8>, Error> {
    let failed = |source| Error::Redis { messages: messages.len(), source };
    let mut lives = lives(redis, messages).await?;
    let mut calls = Vec::new();
    for (record, message) in messages {
        let Some((text, life)) = lives.get_mut(record.topic_partition()) else { continue };
        let taken = Life::take(life, Point::from(record));
        if taken == Taken::Before {
            continue;
        }
        if taken == Taken::Anew {
            let (topic_partition, offset) = (record.topic_partition(), record.offset());
            tracing::warn!(topic_partition, offset, "the partition began anew; so does its stream");
        }
        let now = serde_json::to_string(life)?;
        let read = std::mem::replace(text, now.clone());
        calls.push(call(record, message, &[read, now, u8::from(taken == Taken::Anew).to_string()]));
    }
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    // Loading a script that is there costs one hash look-up and survives a restart of Redis.
    pipeline.load_script(&WRITE).ignore();
    for call in &calls {
        pipeline.invoke_script(call);
    }
    pipeline.query_async(&mut redis.clone()).await.map_err(failed)
}

/// What was taken of each partition so far, as text and as it reads.
async fn lives<'a>(
    redis: &ConnectionManager,
    messages: &[(Record<'a>, Message)],
) -> Result<BTreeMap<&'a str, (String, Option<Life>)>, Error> {
    let mut lives: BTreeMap<&str, _> =
        messages.iter().map(|(record, _)| (record.topic_partition(), (String::new(), None))).collect();
    let keys: Vec<String> = lives.keys().map(|partition| life_key(partition)).collect();
    let texts: Vec<Option<String>> = redis::cmd("MGET")
        .arg(&keys)
        .query_async(&mut redis.clone())
        .await
        .map_err(|source| Error::Redis { messages: messages.len(), source })?;
    for ((life, text), key) in lives.values_mut().zip(texts).zip(keys) {
        if let Some(text) = text {
            let known = serde_json::from_str(&text).map_err(|source| Error::Unreadable { key, source })?;
            *life = (text, Some(known));
        }
    }
    Ok(lives)
}

fn life_key(topic_partition: &str) -> String {
    format!("notify:life:{topic_partition}")
}

fn call(record: &Record<'_>, message: &Message, life: &[String; 3]) -> redis::ScriptInvocation<'static> {
    let Message { channel, data, snapshot } = message;
    let mut call = WRITE.prepare_invoke();
    call.key(format!("stream:{}:{}", record.topic(), record.partition()));
    call.key(life_key(record.topic_partition()));
    call.arg(record.offset()).arg(snapshot.kind()).arg(channel).arg(data.to_string()).arg(STREAM_LENGTH);
    match snapshot {
        Snapshot::Price { symbol, time } => {
            call.key("prices:latest").key("notify:prices:time");
            call.arg(*time).arg(symbol).arg(0).arg(life);
        }
        Snapshot::Article { id, time } => {
            call.key("articles:byTime").key(format!("article:{id}"));
            call.arg(*time).arg(id).arg(ARTICLES).arg(life);
        }
        Snapshot::Candle { symbol, exchange, interval, time } => {
            let unnamed = format!("{symbol}:{interval}");
            for channel in [channel, &unnamed] {
                call.key(format!("candles:{channel}")).key(format!("candles:{channel}:data"));
            }
            call.arg(*time).arg(*time).arg(CANDLES).arg(life);
            call.arg(symbol).arg(exchange).arg(unnamed);
        }
    }
    call
}
