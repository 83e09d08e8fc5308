//! Writes messages: one script for each record adds to the stream and brings the snapshot up to
//! date, so that a reader sees both or neither; a batch's scripts travel together.

use std::sync::LazyLock;

use redis::Script;
use redis::aio::ConnectionManager;
use tidemill_contract::Record;

use crate::message::{Message, Snapshot};

/// About this many entries stay in a stream.
const STREAM_LENGTH: u32 = 10_000;
/// Articles kept for those who come later.
const ARTICLES: u32 = 1_000;
/// Candles kept of each symbol and interval.
const CANDLES: u32 = 2_000;

/// KEYS: stream, snapshot, its companion. ARGV: id, kind, channel, data, stream length, time,
/// member, how many the snapshot keeps. Gives 1, or 0 if the record was written before.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local id, kind, channel, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local time, member, keep = ARGV[6], ARGV[7], tonumber(ARGV[8])
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], id,
  'kind', kind, 'channel', channel, 'data', data)
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then return 0 end
  return added
end
redis.call('SADD', 'streams', KEYS[1])
if kind == 'price' then
  local latest = redis.call('HGET', KEYS[3], member)
  if not latest or tonumber(latest) <= tonumber(time) then
    redis.call('HSET', KEYS[2], member, data)
    redis.call('HSET', KEYS[3], member, time)
  end
  redis.call('PUBLISH', 'prices:' .. channel, data)
elseif kind == 'candle' then
  redis.call('ZADD', KEYS[2], time, member)
  redis.call('HSET', KEYS[3], member, data)
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -keep - 1)) do
    redis.call('ZREM', KEYS[2], old)
    redis.call('HDEL', KEYS[3], old)
  end
else
  redis.call('ZADD', KEYS[2], time, member)
  redis.call('SET', KEYS[3], data)
  for _, old in ipairs(redis.call('ZRANGE', KEYS[2], 0, -keep - 1)) do
    redis.call('ZREM', KEYS[2], old)
    redis.call('DEL', 'article:' .. old)
  end
end
return 1
",
    )
});

/// Redis is away or refuses.
#[derive(Debug, thiserror::Error)]
#[error("failed to write {messages} messages to Redis")]
pub struct Error {
    messages: usize,
    source: redis::RedisError,
}

/// Writes a batch in order; gives how many had not been written before.
///
/// # Errors
/// Redis is away; writing the batch again completes it.
pub async fn write(redis: &ConnectionManager, messages: &[(Record<'_>, Message)]) -> Result<usize, Error> {
    if messages.is_empty() {
        return Ok(0);
    }
    let calls: Vec<_> = messages.iter().map(|(record, message)| call(record, message)).collect();
    let mut pipeline = redis::pipe();
    // Loading a script that is there costs one hash look-up and survives a restart of Redis.
    pipeline.load_script(&WRITE).ignore();
    for call in &calls {
        pipeline.invoke_script(call);
    }
    let new: Vec<usize> =
        pipeline.query_async(&mut redis.clone()).await.map_err(|source| Error { messages: messages.len(), source })?;
    Ok(new.into_iter().sum())
}

fn call(record: &Record<'_>, message: &Message) -> redis::ScriptInvocation<'static> {
    let Message { channel, data, snapshot } = message;
    let mut call = WRITE.prepare_invoke();
    call.key(format!("stream:{}:{}", record.topic(), record.partition()));
    call.arg(format!("{}-1", record.offset()));
    call.arg(snapshot.kind()).arg(channel).arg(data.to_string()).arg(STREAM_LENGTH);
    match snapshot {
        Snapshot::Price { symbol, time } => {
            call.key("prices:latest").key("notify:prices:time");
            call.arg(*time).arg(symbol).arg(0);
        }
        Snapshot::Article { id, time } => {
            call.key("articles:byTime").key(format!("article:{id}"));
            call.arg(*time).arg(id).arg(ARTICLES);
        }
        Snapshot::Candle { symbol, interval, time } => {
            let key = format!("candles:{symbol}:{interval}");
            call.key(&key).key(format!("{key}:data"));
            call.arg(*time).arg(*time).arg(CANDLES);
        }
    }
    call
}
