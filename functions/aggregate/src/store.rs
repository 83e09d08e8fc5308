//! The state in Redis. A batch's state is written by one script that first compares all that was
//! read with what is there: of two writers that touch the same candle, whatever partitions they
//! come from, the one that is behind fails and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use redis::Script;
use redis::aio::ConnectionManager;
use serde::de::DeserializeOwned;
use tidemill_contract::market::CandleEvent;

use crate::state::{CandleKey, Input, SeenKey, State};

/// How long candles and trade ids stay after their last change: three days, longer than the
/// retention of ticks, so that a trade that can still arrive finds its candle.
const TTL_SECONDS: u64 = 3 * 24 * 60 * 60;

/// KEYS: all that was read, the partitions first. ARGV: how many partitions, the time to live of
/// the rest, the values as read, the values to write; no value is the empty text. Gives the key
/// that was changed meanwhile, if there is one.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
for i, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[2 + i] then
    return key
  end
end
for i, key in ipairs(KEYS) do
  local value = ARGV[2 + #KEYS + i]
  if value ~= '' then
    if i <= tonumber(ARGV[1]) then
      redis.call('SET', key, value)
    else
      redis.call('SET', key, value, 'EX', ARGV[2])
    end
  end
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
    #[error("{key} was changed by another consumer")]
    Stale {
        /// The key.
        key: String,
    },
}

/// As much of the state as a batch touches, and the texts it was read from.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// Every key that was asked for: lives, candles and trade ids.
    texts: BTreeMap<String, Option<String>>,
}

/// Reads what the records touch and the lives of their partitions.
///
/// # Errors
/// Redis does not answer or holds something else.
pub async fn load(redis: &ConnectionManager, inputs: &[Input]) -> Result<Loaded, Error> {
    let partitions: BTreeSet<&str> = inputs.iter().map(|input| input.topic_partition.as_str()).collect();
    let candles: BTreeSet<CandleKey> = inputs.iter().flat_map(Input::candles).collect();
    let seen: BTreeSet<SeenKey> = inputs.iter().filter_map(Input::seen).collect();
    let keys: Vec<String> = partitions
        .iter()
        .map(|partition| life_key(partition))
        .chain(candles.iter().map(candle_key))
        .chain(seen.iter().map(seen_key))
        .collect();
    if keys.is_empty() {
        return Ok(Loaded::default());
    }
    let values: Vec<Option<String>> = redis::cmd("MGET")
        .arg(&keys)
        .query_async(&mut redis.clone())
        .await
        .map_err(|source| Error::Redis { action: "read", source })?;
    let texts: BTreeMap<_, _> = keys.iter().cloned().zip(values.iter().cloned()).collect();
    let mut found = keys.into_iter().zip(values);
    let lives = partitions.iter().map(|partition| (*partition).to_owned());
    let state = State {
        lives: read(lives, &mut found)?,
        candles: read(candles.into_iter(), &mut found)?,
        seen: read(seen.into_iter(), &mut found)?,
    };
    Ok(Loaded { state, texts })
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
/// Redis does not answer, or another writer changed what was read: nothing was written.
pub async fn save(redis: &ConnectionManager, read: &Loaded, now: &State) -> Result<(), Error> {
    let before = &read.state;
    if before == now {
        return Ok(());
    }
    let mut values = BTreeMap::new();
    for (partition, life) in changed(&before.lives, &now.lives) {
        values.insert(life_key(partition), serde_json::to_string(life)?);
    }
    for (key, candle) in changed(&before.candles, &now.candles) {
        values.insert(candle_key(key), serde_json::to_string(candle)?);
    }
    for (key, seen) in changed(&before.seen, &now.seen) {
        values.insert(seen_key(key), serde_json::to_string(seen)?);
    }
    let (lives, rest): (Vec<_>, Vec<_>) = read.texts.iter().partition(|(key, _)| key.starts_with(LIFE));
    let mut call = WRITE.prepare_invoke();
    call.arg(lives.len()).arg(TTL_SECONDS);
    let all = || lives.iter().chain(&rest);
    for (key, text) in all() {
        call.key(*key).arg(text.as_deref().unwrap_or_default());
    }
    for (key, _) in all() {
        call.arg(values.get(*key).map_or("", String::as_str));
    }
    let key: String =
        call.invoke_async(&mut redis.clone()).await.map_err(|source| Error::Redis { action: "write", source })?;
    if key.is_empty() { Ok(()) } else { Err(Error::Stale { key }) }
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

const LIFE: &str = "aggregate:life:";

fn life_key(topic_partition: &str) -> String {
    format!("{LIFE}{topic_partition}")
}

fn candle_key(key: &CandleKey) -> String {
    let CandleKey { symbol, exchange, interval, open } = key;
    format!("aggregate:candle:{exchange}:{symbol}:{interval}:{open}")
}

fn seen_key((symbol, exchange, minute): &SeenKey) -> String {
    format!("aggregate:seen:{exchange}:{symbol}:{minute}")
}
