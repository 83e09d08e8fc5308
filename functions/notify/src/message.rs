//! What a record means to the people who watch: its kind, its channel and the body they get,
//! pure. The topic's last word decides the kind.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};
use tidemill_contract::market::AHEAD;
use tidemill_contract::{ArticleEnrichedEvent, CandleEvent, Failure, PriceTickEvent, Record};

/// A message and where it is kept besides its stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where subscribers listen; those of a candle may also listen to its symbol's first exchange
    /// without naming it.
    pub channel: String,
    /// The body as clients get it.
    pub data: Value,
    /// The snapshot it belongs to.
    pub snapshot: Snapshot,
}

/// What is kept of a message for those who come later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// The latest tick of a symbol.
    Price {
        /// The symbol.
        symbol: String,
        /// Event time, unix microseconds.
        time: i64,
    },
    /// An article.
    Article {
        /// Its id.
        id: String,
        /// When it was published, unix milliseconds.
        time: i64,
    },
    /// A candle.
    Candle {
        /// The symbol.
        symbol: String,
        /// The exchange, in lower case.
        exchange: String,
        /// The candle's length.
        interval: String,
        /// When it opens, unix seconds.
        time: i64,
    },
}

impl Snapshot {
    /// The message's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Price { .. } => "price",
            Self::Article { .. } => "article",
            Self::Candle { .. } => "candle",
        }
    }
}

/// The message of a record.
///
/// # Errors
/// The record is malformed, or nobody watches its topic.
pub fn message(record: &Record<'_>) -> Result<Message, Failure> {
    let topic = record.topic();
    match topic.rsplit(['.', '-']).next().unwrap_or(topic) {
        "ticks" => price(&record.decode::<PriceTickEvent>()?.check()?),
        "candles" => candle(&record.decode::<CandleEvent>()?.check()?),
        "articles" => article(&record.decode()?, known_time(record)),
        _ => Err(Failure::new("UnknownTopic", format!("{topic} is none of …ticks, …candles and …articles"))),
    }
}

/// Not after now, whatever the producer's clock says.
fn known_time(record: &Record<'_>) -> DateTime<Utc> {
    record.time().min(Utc::now())
}

fn price(tick: &PriceTickEvent) -> Result<Message, Failure> {
    let mut data = json!({
        "symbol": tick.symbol,
        "price": tick.price,
        "quantity": tick.quantity,
        "timestamp": tick.timestamp.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "exchange": tick.exchange,
    });
    if let Some(id) = &tick.trade_id {
        data["tradeId"] = json!(id);
    }
    let time = tick.timestamp.timestamp_micros();
    let snapshot = Snapshot::Price { symbol: tick.symbol.clone(), time };
    Ok(Message { channel: tick.symbol.to_lowercase(), data, snapshot })
}

fn candle(candle: &CandleEvent) -> Result<Message, Failure> {
    let number = |name: &str, value: Decimal| {
        value.to_f64().ok_or_else(|| Failure::new("MalformedEvent", format!("{name} is beyond a number's range")))
    };
    let time = candle.time.timestamp();
    let data = json!({
        "symbol": candle.symbol,
        "exchange": candle.exchange,
        "interval": candle.interval,
        "time": time,
        "open": number("open", candle.open)?,
        "high": number("high", candle.high)?,
        "low": number("low", candle.low)?,
        "close": number("close", candle.close)?,
        "volume": number("volume", candle.volume)?,
    });
    let (symbol, exchange) = (candle.symbol.clone(), candle.exchange.to_lowercase());
    let interval = candle.interval.clone();
    let channel = format!("{symbol}@{exchange}:{interval}");
    Ok(Message { channel, data, snapshot: Snapshot::Candle { symbol, exchange, interval, time } })
}

/// `known` is a time at which the article was there: what claims to be from after now was
/// published by then.
fn article(enriched: &ArticleEnrichedEvent, known: DateTime<Utc>) -> Result<Message, Failure> {
    let article = &enriched.article;
    let published_at = if article.published_at > Utc::now() + AHEAD { known } else { article.published_at };
    if article.article_id.is_empty() {
        return Err(Failure::new("MalformedEvent", "articleId must not be empty"));
    }
    let data = json!({
        "articleId": article.article_id,
        "url": article.url,
        "title": article.title,
        "body": article.body,
        "source": article.source,
        "publishedAt": published_at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "symbols": article.symbols,
        "sentiment": enriched.sentiment,
        "entities": enriched.entities,
    });
    let time = published_at.timestamp_millis();
    let snapshot = Snapshot::Article { id: article.article_id.clone(), time };
    Ok(Message { channel: "articles".to_owned(), data, snapshot })
}
