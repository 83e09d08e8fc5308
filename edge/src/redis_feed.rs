//! The only reader of Redis' streams in this process: from the last id of each, for ever.
//!
//! An entry is handed to the hub once: the cursor moves with it, and every connection goes on
//! from the cursors. When they no longer fit what Redis holds (it was emptied, its ids restarted,
//! or entries were trimmed unread), the hub begins anew from a snapshot and clients are told.

use crate::{
    candle_loader::CandleLoader,
    hub::Hub,
    message::{Body, Entry, Kind},
    position::{Cursors, EntryId, Epoch, StreamName},
    stats::Stats,
    store::{self, Heads},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use redis::{
    AsyncConnectionConfig, Client, Value,
    aio::MultiplexedConnection,
    from_redis_value_ref,
    streams::{StreamId, StreamKey, StreamReadReply},
};
use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{error, info, warn};

/// How long Redis holds an idle read, and so how late a new stream or an emptied Redis is
/// noticed at most.
const BLOCK: Duration = Duration::from_secs(1);

/// Entries of one stream taken in one read.
const BATCH: usize = 500;

/// Why the feed lost its connection.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to read the streams")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("stream `{stream}` was not written by notify")]
    Id { stream: String, source: crate::position::Error },
}

/// The reader.
pub struct Feed {
    client: Client,
    hub: Arc<Hub>,
    loader: CandleLoader,
    stats: Arc<Stats>,
    /// Once loaded: the life of the ids, and the last one read of each stream.
    read: Option<(Epoch, Cursors)>,
}

impl Feed {
    /// Reads from `client` into `hub`.
    pub fn new(client: Client, hub: Arc<Hub>, loader: CandleLoader, stats: Arc<Stats>) -> Self {
        Self { client, hub, loader, stats, read: None }
    }

    /// Reads, reconnecting with back-off whenever Redis goes away. Never ends.
    pub async fn run(mut self) -> Infallible {
        loop {
            let mut pauses = ExponentialBuilder::new()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(Duration::from_secs(2))
                .without_max_times()
                .with_jitter()
                .build();
            let mut connection = loop {
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(error) => {
                        let pause = pauses.next().unwrap_or(BLOCK);
                        warn!(error = &error as &dyn std::error::Error, ?pause, "redis is out of reach");
                        tokio::time::sleep(pause).await;
                    }
                }
            };
            self.stats.set_redis_up(true);
            info!("reading from redis");
            let Err(error) = self.read(&mut connection).await;
            self.stats.set_redis_up(false);
            self.stats.redis_reconnects.increment(1);
            warn!(error = &error as &dyn std::error::Error, "connection to redis lost");
        }
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(BLOCK + Duration::from_secs(5)));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.align(&mut connection).await?;
        Ok(connection)
    }

    async fn read(&mut self, connection: &mut MultiplexedConnection) -> Result<Infallible, Error> {
        let mut aligned = Instant::now();
        loop {
            let reply = self.wait(connection).await?;
            // A stream is cut at many times a batch, so entries can only have been cut off unread
            // where a whole batch came. The oldest entry only moves forward: if it isn't beyond
            // the cursors now, it wasn't when the batch was read.
            let may_have_missed = reply.keys.iter().any(|stream| stream.ids.len() >= BATCH);
            if may_have_missed || aligned.elapsed() >= BLOCK {
                aligned = Instant::now();
                if !self.align(connection).await? {
                    continue;
                }
            }
            for stream in &reply.keys {
                self.hand_on(stream)?;
            }
        }
    }

    /// What is new in the streams; waits for it for [`BLOCK`] at most.
    async fn wait(&self, connection: &mut MultiplexedConnection) -> Result<StreamReadReply, Error> {
        let Some((_, cursors)) = self.read.as_ref().filter(|(_, cursors)| !cursors.is_empty()) else {
            tokio::time::sleep(BLOCK).await;
            return Ok(StreamReadReply::default());
        };
        let mut command = redis::cmd("XREAD");
        command.arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("COUNT").arg(BATCH).arg("STREAMS");
        for stream in cursors.keys() {
            command.arg(stream.key());
        }
        for id in cursors.values() {
            command.arg(id.to_string());
        }
        let reply: Option<StreamReadReply> = command.query_async(connection).await?;
        Ok(reply.unwrap_or_default())
    }

    /// Hands what was read of a stream to the hub, and moves the stream's cursor behind it.
    fn hand_on(&mut self, stream: &StreamKey) -> Result<(), Error> {
        let name = StreamName::from(stream.key.as_str());
        let mut entries = Vec::with_capacity(stream.ids.len());
        let mut last = EntryId::ZERO;
        for raw in &stream.ids {
            last = raw.id.parse().map_err(|source| Error::Id { stream: stream.key.clone(), source })?;
            match entry(&name, last, raw) {
                Ok(entry) => {
                    self.stats.received(entry.kind).increment(1);
                    entries.push(entry);
                }
                Err(error) => {
                    self.stats.rejected.increment(1);
                    error!(stream = name.key(), id = %last, error = &error as &dyn std::error::Error, "entry left out");
                }
            }
        }
        self.hub.publish(entries, &name, last);
        if let Some((_, cursors)) = &mut self.read {
            cursors.insert(name, last);
        }
        Ok(())
    }

    /// Compares the cursors with what Redis holds: takes up new streams, or begins anew. Answers
    /// whether reading goes on from the cursors.
    async fn align(&mut self, connection: &mut MultiplexedConnection) -> Result<bool, Error> {
        let Some((epoch, cursors)) = &mut self.read else {
            self.load(connection, None).await?;
            return Ok(false);
        };
        let heads = store::heads(connection).await?;
        let reason = match compare(epoch, cursors, &heads) {
            Verdict::Fits => {
                cursors.retain(|stream, _| heads.streams.contains_key(stream));
                for stream in heads.streams.into_keys() {
                    cursors.entry(stream).or_insert(EntryId::ZERO);
                }
                return Ok(true);
            }
            Verdict::Restarted => {
                store::renew_epoch(connection, epoch).await?;
                "redis began anew"
            }
            Verdict::NewEpoch => "redis began anew",
            Verdict::Trimmed => "messages were trimmed before they could be read",
        };
        self.load(connection, Some(reason)).await?;
        Ok(false)
    }

    async fn load(&mut self, connection: &mut MultiplexedConnection, reason: Option<&str>) -> Result<(), Error> {
        let load = store::snapshot(connection).await?;
        if let Some(reason) = reason {
            self.stats.resets.increment(1);
            warn!(reason, "every client begins anew");
        }
        self.read = Some((load.epoch.clone(), load.cursors.clone()));
        for ticket in self.hub.load(load, reason) {
            self.loader.start(ticket);
        }
        self.stats.set_loaded();
        Ok(())
    }
}

/// Whether reading can go on from the cursors.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fits,
    /// Somebody named a new life of the ids.
    NewEpoch,
    /// The ids went back, and nobody has said so yet.
    Restarted,
    /// Entries are gone that may not have been read.
    Trimmed,
}

fn compare(epoch: &Epoch, cursors: &Cursors, heads: &Heads) -> Verdict {
    if heads.epoch != *epoch {
        return Verdict::NewEpoch;
    }
    let both = || cursors.iter().filter_map(|(stream, &read)| Some((read, heads.streams.get(stream)?)));
    if both().any(|(read, head)| head.last < read) {
        Verdict::Restarted
    } else if both().any(|(read, head)| read != EntryId::ZERO && head.first > read) {
        Verdict::Trimmed
    } else {
        Verdict::Fits
    }
}

/// Why an entry was left out.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    #[error("field `{field}` is not text")]
    NoText { field: &'static str, source: redis::ParsingError },
    #[error("kind `{0}` is unknown: price, article or candle is expected")]
    Kind(String),
    #[error("data of kind {} is malformed", .kind.name())]
    Data { kind: Kind, source: crate::message::Error },
}

fn entry(stream: &StreamName, id: EntryId, raw: &StreamId) -> Result<Entry, EntryError> {
    let field = |field: &'static str| raw.map.get(field).ok_or(EntryError::Missing(field));
    let text = |name: &'static str| {
        from_redis_value_ref::<String>(field(name)?).map_err(|source| EntryError::NoText { field: name, source })
    };
    let kind = text("kind")?;
    let kind = Kind::from_name(&kind).ok_or(EntryError::Kind(kind))?;
    let data = match field("data")? {
        Value::BulkString(bytes) => bytes.clone(),
        _ => text("data")?.into_bytes(),
    };
    let body = Body::parse(kind, data).map_err(|source| EntryError::Data { kind, source })?;
    Ok(Entry { stream: stream.clone(), id, kind, channel: text("channel")?, body })
}

#[cfg(test)]
mod tests {
    use super::{Verdict, compare};
    use crate::{
        position::{Cursors, EntryId, Epoch, StreamName},
        store::{Head, Heads},
    };

    fn check(read: (&str, u64), head: Option<(&str, u64, u64)>, expected: Verdict) {
        let id = |offset| if offset == 0 { EntryId::ZERO } else { EntryId { offset, n: 1 } };
        let stream = StreamName::from("stream:t:0");
        let epoch = head.map_or(read.0, |head| head.0);
        let streams =
            head.map(|(_, first, last)| (stream.clone(), Head { first: id(first), last: id(last), kind: None }));
        let heads = Heads { epoch: Epoch::from(epoch), streams: streams.into_iter().collect() };
        let cursors = Cursors::from([(stream, id(read.1))]);
        assert_eq!(compare(&Epoch::from(read.0), &cursors, &heads), expected, "{read:?} against {head:?}");
    }

    #[test]
    fn reading_goes_on_only_where_nothing_can_be_missed() {
        check(("a", 5), Some(("a", 1, 5)), Verdict::Fits);
        check(("a", 5), Some(("a", 5, 9)), Verdict::Fits);
        check(("a", 0), Some(("a", 7, 9)), Verdict::Fits);
        check(("a", 0), Some(("a", 0, 0)), Verdict::Fits);
        check(("a", 5), None, Verdict::Fits);
        check(("a", 5), Some(("b", 1, 5)), Verdict::NewEpoch);
        check(("a", 5), Some(("a", 1, 4)), Verdict::Restarted);
        check(("a", 5), Some(("a", 0, 0)), Verdict::Restarted);
        check(("a", 5), Some(("a", 6, 9)), Verdict::Trimmed);
    }
}
