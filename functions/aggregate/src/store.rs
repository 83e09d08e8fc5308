//! The state in Redis. A batch's state is written by one script that first compares the fences
//! with those that were read: of two writers of a partition, the one that is behind fails and
//! changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use redis::Script;
use redis::aio::ConnectionManager;
use serde::de::DeserializeOwned;
use tidemill_contract::market::CandleEvent;

use crate::state::{CandleKey, SeenKey, State, Trade};

/// How long candles and trade ids stay after their last change: three days, longer than the
/// retention of ticks, so that a trade that can still arrive finds its candle.
const TTL_SECONDS: u64 = 3 * 24 * 60 * 60;

/// KEYS: the fences, then the values. ARGV: how many fences, the time to live, the fences as
/// read, the fences to write, the values.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local fences = tonumber(ARGV[1])
for i = 1, fences do
  if (redis.call('GET', KEYS[i]) or '') ~= ARGV[2 + i] then
    return KEYS[i]
  end
end
for i = 1, fences do
  redis.call('SET', KEYS[i], ARGV[2 + fences + i])
end
for i = fences + 1, #KEYS do
  redis.call('SET', KEYS[i], ARGV[2 + fences + i], 'EX', ARGV[2])
end
return ''
",
    )
});

/// The state was not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis does not answer.
    #[error("failed to {action} the state in Redis")]
    Redis {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: redis::RedisError,
    },
    /// A value is not of this version's making.
    #[error("{key} is not readable; delete it and replay its ticks")]
    Unreadable {
        /// The value's key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A value has no JSON form.
    #[error("failed to encode the state")]
    Encode(#[from] serde_json::Error),
    /// Another writer was faster.
    #[error("{fence} was moved by another consumer of the partition")]
    Stale {
        /// The fence's key.
        fence: String,
    },
}

/// Reads what the trades touch and the fences of the partitions.
///
/// # Errors
/// Redis does not answer or holds something else.
pub async fn load(redis: &ConnectionManager, partitions: &BTreeSet<&str>, trades: &[Trade]) -> Result<State, Error> {
    let candles: BTreeSet<CandleKey> = trades.iter().flat_map(Trade::candles).collect();
    let seen: BTreeSet<SeenKey> = trades.iter().filter_map(Trade::seen).collect();
    let keys: Vec<String> = partitions
        .iter()
        .map(|partition| fence_key(partition))
        .chain(candles.iter().map(candle_key))
        .chain(seen.iter().map(seen_key))
        .collect();
    if keys.is_empty() {
        return Ok(State::default());
    }
    let values: Vec<Option<String>> = redis::cmd("MGET")
        .arg(&keys)
        .query_async(&mut redis.clone())
        .await
        .map_err(|source| Error::Redis { action: "read", source })?;
    let mut found = keys.into_iter().zip(values);
    let fences = partitions.iter().map(|partition| (*partition).to_owned());
    Ok(State {
        fences: read(fences, &mut found)?,
        candles: read(candles.into_iter(), &mut found)?,
        seen: read(seen.into_iter(), &mut found)?,
    })
}

fn read<K: Ord, V: DeserializeOwned>(
    names: impl Iterator<Item = K>,
    found: &mut impl Iterator<Item = (String, Option<String>)>,
) -> Result<BTreeMap<K, V>, Error> {
    // `zip` asks `names` first, so it takes no pair too many from `found`.
    names
        .zip(found)
        .filter_map(|(name, (key, value))| Some((name, key, value?)))
        .map(|(name, key, value)| {
            let value = serde_json::from_str(&value).map_err(|source| Error::Unreadable { key, source })?;
            Ok((name, value))
        })
        .collect()
}

/// Writes what differs between the state as read and as it is now.
///
/// # Errors
/// Redis does not answer, or another writer moved a fence meanwhile: nothing was written.
pub async fn save(redis: &ConnectionManager, read: &State, now: &State) -> Result<(), Error> {
    if read == now {
        return Ok(());
    }
    let mut call = WRITE.prepare_invoke();
    call.arg(now.fences.len()).arg(TTL_SECONDS);
    for partition in now.fences.keys() {
        call.key(fence_key(partition));
        call.arg(read.fences.get(partition).map_or(String::new(), i64::to_string));
    }
    for fence in now.fences.values() {
        call.arg(*fence);
    }
    for (key, candle) in changed(&read.candles, &now.candles) {
        call.key(candle_key(key)).arg(serde_json::to_string(candle)?);
    }
    for (key, seen) in changed(&read.seen, &now.seen) {
        call.key(seen_key(key)).arg(serde_json::to_string(seen)?);
    }
    let fence: String =
        call.invoke_async(&mut redis.clone()).await.map_err(|source| Error::Redis { action: "write", source })?;
    if fence.is_empty() { Ok(()) } else { Err(Error::Stale { fence }) }
}

fn changed<'a, K: Ord, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    now: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    now.iter().filter(|(key, value)| before.get(key) != Some(value))
}

/// The candles as events, those that are known.
pub fn events(state: &State, keys: &BTreeSet<CandleKey>) -> Vec<CandleEvent> {
    let known = keys.iter().filter_map(|key| Some((key, state.candles.get(key)?)));
    known.map(|(key, c)| c.event(&key.symbol, &key.exchange, key.interval, key.open)).collect()
}

fn fence_key(topic_partition: &str) -> String {
    format!("aggregate:fence:{topic_partition}")
}

fn candle_key(key: &CandleKey) -> String {
    let CandleKey { symbol, exchange, interval, open } = key;
    format!("aggregate:candle:{exchange}:{symbol}:{interval}:{open}")
}

fn seen_key((symbol, exchange, minute): &SeenKey) -> String {
    format!("aggregate:seen:{exchange}:{symbol}:{minute}")
}
