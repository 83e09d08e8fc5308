//! Reads what `notify` keeps in Redis beside the streams, as `docs/redis.md` lays it out.
//!
//! What goes together with stream positions is read by one script, so both are of one instant.

use crate::{
    hub::{ARTICLES, ARTICLES_CHANNEL, CANDLES, Load},
    message::{Body, Kind},
    position::{Cursors, EntryId, Epoch, StreamName},
};
use redis::{
    AsyncCommands, Client, ScriptInvocation,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, sync::LazyLock, time::Duration};
use tracing::warn;
use uuid::Uuid;

/// The edges' own key: the name of this life of Redis' ids, made by the first edge that finds
/// none. A Redis that was emptied has lost it, which is how edges notice.
const EPOCH_KEY: &str = "edge:epoch";

const HEADS: &str = include_str!("store/heads.lua");
static HEADS_ONLY: LazyLock<redis::Script> =
    LazyLock::new(|| redis::Script::new(&[HEADS, "return {epoch, heads}"].concat()));
static SNAPSHOT: LazyLock<redis::Script> =
    LazyLock::new(|| redis::Script::new(&[HEADS, include_str!("store/snapshot.lua")].concat()));
static CANDLES_AND_HEADS: LazyLock<redis::Script> =
    LazyLock::new(|| redis::Script::new(&[HEADS, include_str!("store/candles.lua")].concat()));

/// Longest wait for an answer that a client waits for.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why something couldn't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis is away, or refused.
    #[error("failed to read from Redis")]
    Redis(#[from] redis::RedisError),
    /// A stream's id isn't one of `notify`'s.
    #[error("stream `{stream}` was not written by notify")]
    Stream {
        /// The stream's key.
        stream: String,
        /// What is wrong with the id.
        source: crate::position::Error,
    },
    /// What should be JSON isn't.
    #[error("`{key}` in Redis does not hold JSON")]
    Json {
        /// Where it stands.
        key: String,
        /// The parser's reason.
        source: serde_json::Error,
    },
}

/// How far a stream reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Id of its oldest entry; zero when it has none.
    pub first: EntryId,
    /// Id of its newest entry; zero when it has none.
    pub last: EntryId,
    /// What its newest entry is.
    pub kind: Option<Kind>,
}

/// All streams, and the life of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// The life of the ids.
    pub epoch: Epoch,
    /// By stream.
    pub streams: BTreeMap<StreamName, Head>,
}

/// Stream, first id, last id and kind of each, as the scripts answer them.
type RawHeads = Vec<(String, String, String, String)>;

/// Symbol and JSON of each.
type RawPrices = Vec<(String, Vec<u8>)>;

impl Heads {
    fn parse(epoch: &str, raw: RawHeads) -> Result<Self, Error> {
        let parse = |(stream, first, last, kind): (String, String, String, String)| {
            let id =
                |text: &str| text.parse::<EntryId>().map_err(|source| Error::Stream { stream: stream.clone(), source });
            let head = Head { first: id(&first)?, last: id(&last)?, kind: Kind::from_name(&kind) };
            Ok((StreamName::from(stream.as_str()), head))
        };
        Ok(Self { epoch: Epoch::from(epoch), streams: raw.into_iter().map(parse).collect::<Result<_, Error>>()? })
    }

    /// The last id of each stream.
    pub fn cursors(&self) -> Cursors {
        self.streams.iter().map(|(stream, head)| (stream.clone(), head.last)).collect()
    }

    fn kinds(&self) -> BTreeMap<StreamName, Kind> {
        self.streams.iter().filter_map(|(stream, head)| Some((stream.clone(), head.kind?))).collect()
    }
}

/// Reads where the streams stand.
pub async fn heads(connection: &mut impl ConnectionLike) -> Result<Heads, Error> {
    let (epoch, raw): (String, RawHeads) = prepare(&HEADS_ONLY).invoke_async(connection).await?;
    Heads::parse(&epoch, raw)
}

/// Names a new life of the ids, unless somebody else did since `old` was read.
pub async fn renew_epoch(connection: &mut impl ConnectionLike, old: &Epoch) -> Result<(), Error> {
    static RENEW: LazyLock<redis::Script> = LazyLock::new(|| {
        redis::Script::new("if redis.call('GET', KEYS[1]) == ARGV[2] then redis.call('SET', KEYS[1], ARGV[1]) end")
    });
    Ok(prepare(&RENEW).arg(old.name()).invoke_async(connection).await?)
}

/// Reads everything that clients begin with, except candles.
pub async fn snapshot(connection: &mut impl ConnectionLike) -> Result<Load, Error> {
    let (epoch, raw, prices, articles): (String, RawHeads, RawPrices, Vec<Vec<u8>>) =
        prepare(&SNAPSHOT).arg(ARTICLES).invoke_async(connection).await?;
    let heads = Heads::parse(&epoch, raw)?;
    let prices = prices
        .into_iter()
        .filter_map(|(symbol, json)| Some((symbol.to_lowercase(), body(Kind::Price, json)?)))
        .collect();
    let articles = articles
        .into_iter()
        .rev()
        .filter_map(|json| Some((ARTICLES_CHANNEL.to_owned(), body(Kind::Article, json)?)))
        .collect();
    Ok(Load {
        cursors: heads.cursors(),
        kinds: heads.kinds(),
        epoch: heads.epoch,
        bodies: BTreeMap::from([(Kind::Price, prices), (Kind::Article, articles)]),
    })
}

/// One page of articles.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub articles: Vec<Box<RawValue>>,
    /// How many there are on all pages.
    pub total: usize,
}

/// What clients ask for one at a time; reconnects by itself.
#[derive(Clone)]
pub struct Store {
    connection: ConnectionManager,
}

impl Store {
    /// A store that connects when it is first asked.
    ///
    /// # Errors
    /// When the client's settings contradict each other.
    pub fn new(client: Client) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(Self { connection: ConnectionManager::new_lazy_with_config(client, config)? })
    }

    /// Page `page`, counted from 1, of `size` articles.
    pub async fn articles(&self, page: usize, size: usize) -> Result<Page, Error> {
        let mut connection = self.connection.clone();
        let start = (page - 1).saturating_mul(size);
        let end = start.saturating_add(size - 1);
        let (total, ids): (usize, Vec<String>) = redis::pipe()
            .zcard("articles:byTime")
            .zrevrange("articles:byTime", isize(start), isize(end))
            .query_async(&mut connection)
            .await?;
        if ids.is_empty() {
            return Ok(Page { articles: Vec::new(), total });
        }
        let keys: Vec<String> = ids.iter().map(|id| format!("article:{id}")).collect();
        let found: Vec<Option<String>> = connection.mget(&keys).await?;
        let articles = keys.into_iter().zip(found).filter_map(|(key, json)| Some(raw(key, json?)));
        Ok(Page { articles: articles.collect::<Result<_, _>>()?, total })
    }

    /// The article of that id.
    pub async fn article(&self, id: &str) -> Result<Option<Box<RawValue>>, Error> {
        let key = format!("article:{id}");
        let json: Option<String> = self.connection.clone().get(&key).await?;
        json.map(|json| raw(key, json)).transpose()
    }

    /// The newest `limit` candles of a channel, oldest first.
    pub async fn candles(&self, channel: &str, limit: usize) -> Result<Vec<Box<RawValue>>, Error> {
        let key = candles_key(channel);
        let mut connection = self.connection.clone();
        let times: Vec<String> = connection.zrevrange(&key, 0, isize(limit - 1)).await?;
        if times.is_empty() {
            return Ok(Vec::new());
        }
        let key = format!("{key}:data");
        let found: Vec<Option<String>> = redis::cmd("HMGET").arg(&key).arg(&times).query_async(&mut connection).await?;
        found.into_iter().rev().flatten().map(|json| raw(key.clone(), json)).collect()
    }

    /// What subscribers of a candle channel begin with, oldest first, and where the streams stood.
    pub async fn candle_snapshot(&self, channel: &str) -> Result<(Heads, Vec<Body>), Error> {
        let (epoch, raw, candles): (String, RawHeads, Vec<Vec<u8>>) = prepare(&CANDLES_AND_HEADS)
            .key(candles_key(channel))
            .arg(CANDLES)
            .invoke_async(&mut self.connection.clone())
            .await?;
        let candles = candles.into_iter().rev().filter_map(|json| body(Kind::Candle, json)).collect();
        Ok((Heads::parse(&epoch, raw)?, candles))
    }
}

fn prepare(script: &'static redis::Script) -> ScriptInvocation<'static> {
    let fresh = Uuid::new_v4().simple().to_string();
    let mut invocation = script.key(EPOCH_KEY);
    invocation.arg(&fresh[..8]);
    invocation
}

fn candles_key(channel: &str) -> String {
    format!("candles:{channel}")
}

fn raw(key: String, json: String) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(json).map_err(|source| Error::Json { key, source })
}

/// A snapshot's body; one that can't be understood is left out and logged.
fn body(kind: Kind, json: Vec<u8>) -> Option<Body> {
    Body::parse(kind, json).inspect_err(|error| warn!(kind = kind.name(), %error, "value in a snapshot left out")).ok()
}

fn isize(number: usize) -> isize {
    isize::try_from(number).unwrap_or(isize::MAX)
}
