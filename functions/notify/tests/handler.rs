//! The whole function against a real redis-server: what docs/redis.md says is what is there.

use std::collections::HashMap;

use notify::context::Context;
use notify::handler::handle;
use redis::AsyncCommands;
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use tidemill_contract::Answer;
use tidemill_contract::testing::{RedisServer, kafka_event};

fn tick(time: &str, price: &str) -> String {
    json!({"symbol": "BTCUSDT", "price": price, "quantity": "0.50", "exchange": "binance",
        "timestamp": format!("2026-01-01T00:{time}Z"), "tradeId": 7})
    .to_string()
}

fn candle(minute: i64, close: &str) -> String {
    let time = chrono::DateTime::from_timestamp(1_767_225_600 + minute * 60, 0).expect("a time");
    json!({"symbol": "BTCUSDT", "exchange": "x", "interval": "1m", "time": time, "open": "1.5",
        "high": "2", "low": "1", "close": close, "volume": "10", "vwap": "1.6", "tradeCount": 3})
    .to_string()
}

fn article(id: &str, second: u32) -> String {
    json!({"eventId": "e", "articleId": id, "url": "http://a.example/x", "title": "T", "body": "B",
        "source": "s", "publishedAt": format!("2026-01-01T00:00:{second:02}Z"), "symbols": ["BTC"],
        "sentiment": {"label": "bullish", "score": 0.5}, "language": "en",
        "entities": [{"text": "B", "kind": "ticker", "start": 0, "end": 1}]})
    .to_string()
}

async fn write(context: &Context, topic: &str, first: i64, values: &[String]) -> Answer {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
    handle(context, kafka_event(topic, 2, first, &values)).await.expect("an answer")
}

/// Everything in Redis that does not depend on the clock, for comparing.
async fn dump(context: &Context) -> HashMap<String, Vec<u8>> {
    let mut redis = context.redis.clone();
    let keys: Vec<String> = redis.keys("*").await.expect("keys");
    let mut dump = HashMap::new();
    for key in keys {
        let bytes: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut redis).await.expect("a dump");
        dump.insert(key, bytes);
    }
    dump
}

#[tokio::test]
async fn prices_are_as_documented_and_late_ticks_do_not_replace_later_ones() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let mut redis = server.connect();
    let values = [tick("00:02", "101"), tick("00:01.5", "100.10"), "{".into()];
    let answer = write(&context, "price-ticks", 0, &values).await;
    assert_eq!(answer.batch_item_failures[0].item_identifier.offset, 2);
    assert!(answer.records.is_empty());

    let entries: StreamRangeReply = redis.xrange_all("stream:price-ticks:2").await.expect("entries");
    let ids: Vec<&str> = entries.ids.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["0-1", "1-1"]);
    let field = |at: usize, name| entries.ids[at].get::<String>(name).expect("a field");
    assert_eq!((field(1, "kind"), field(1, "channel")), ("price".into(), "btcusdt".into()));
    let data: Value = serde_json::from_str(&field(1, "data")).expect("JSON");
    assert_eq!(
        data,
        json!({"symbol": "BTCUSDT", "price": "100.10", "quantity": "0.50", "exchange": "binance",
            "timestamp": "2026-01-01T00:00:01.500Z", "tradeId": 7})
    );
    let latest: String = redis.hget("prices:latest", "BTCUSDT").await.expect("a price");
    assert!(latest.contains("\"101\""), "{latest}");
    let streams: Vec<String> = redis.smembers("streams").await.expect("streams");
    assert_eq!(streams, ["stream:price-ticks:2"]);
}

#[tokio::test]
async fn redelivery_changes_nothing() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let batches = [
        ("price-ticks", vec![tick("00:01", "1"), tick("00:02", "2")]),
        ("market-data.crypto.candles", vec![candle(0, "1.1"), candle(0, "1.2"), candle(1, "1")]),
        ("enriched-articles", vec![article("a", 1), article("b", 2)]),
    ];
    for (topic, values) in &batches {
        write(&context, topic, 10, values).await;
    }
    let once = dump(&context).await;
    for (topic, values) in &batches {
        write(&context, topic, 10, &values[..1]).await;
        write(&context, topic, 10, values).await;
    }
    assert_eq!(dump(&context).await, once);
}

#[tokio::test]
async fn candles_and_articles_are_as_documented_and_bounded() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let mut redis = server.connect();
    let candles: Vec<String> = (0..2_050).map(|minute| candle(minute, "1.25")).collect();
    write(&context, "market-data.crypto.candles", 0, &candles).await;
    let kept: Vec<String> = redis.zrange("candles:BTCUSDT:1m", 0, -1).await.expect("candles");
    assert_eq!((kept.len(), kept[0].as_str()), (2_000, "1767228600"));
    let data: HashMap<String, String> = redis.hgetall("candles:BTCUSDT:1m:data").await.expect("data");
    assert_eq!(data.len(), 2_000);
    let candle: Value = serde_json::from_str(&data["1767228600"]).expect("JSON");
    assert_eq!(
        candle,
        json!({"symbol": "BTCUSDT", "interval": "1m", "time": 1_767_228_600, "open": 1.5,
            "high": 2.0, "low": 1.0, "close": 1.25, "volume": 10.0})
    );

    let articles: Vec<String> = (0..1_003).map(|id| article(&format!("id{id:04}"), u32::from(id >= 3))).collect();
    write(&context, "enriched-articles", 0, &articles).await;
    let kept: Vec<String> = redis.zrange("articles:byTime", 0, -1).await.expect("articles");
    assert_eq!((kept.len(), kept[0].as_str()), (1_000, "id0003"));
    let old: Option<String> = redis.get("article:id0002").await.expect("an answer");
    let new: String = redis.get("article:id0003").await.expect("an article");
    assert_eq!(old, None);
    let new: Value = serde_json::from_str(&new).expect("JSON");
    assert_eq!((&new["sentiment"]["label"], &new["symbols"]), (&json!("bullish"), &json!(["BTC"])));
}

#[tokio::test]
async fn each_tick_is_published_once() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut subscription = client.get_async_pubsub().await.expect("a connection");
    subscription.subscribe("prices:btcusdt").await.expect("a subscription");
    let value = tick("00:01", "1");
    write(&context, "price-ticks", 0, std::slice::from_ref(&value)).await;
    write(&context, "price-ticks", 0, std::slice::from_ref(&value)).await;
    write(&context, "price-ticks", 1, &[tick("00:02", "2")]).await;
    let mut published = subscription.into_on_message();
    for price in ["\"1\"", "\"2\""] {
        let message = futures::StreamExt::next(&mut published).await.expect("a message");
        let text: String = message.get_payload().expect("text");
        assert!(text.contains(price), "{text}");
    }
}

#[tokio::test]
async fn what_nobody_watches_fails_alone_and_redis_away_fails_the_batch() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let answer = write(&context, "orders.pending", 0, &["{}".into()]).await;
    assert_eq!(answer.batch_item_failures[0].error_type, "UnknownTopic");
    drop(server);
    let tick = tick("00:01", "1");
    let event = kafka_event("price-ticks", 0, 0, &[Some(tick.as_str())]);
    handle(&context, event).await.expect_err("no Redis");
}
