//! The whole function against a real redis-server: what docs/redis.md says is what is there.

use std::collections::HashMap;

use notify::context::Context;
use notify::handler::handle;
use redis::AsyncCommands;
use redis::streams::StreamRangeReply;
use serde_json::{Value, json};
use tidemill_contract::Answer;
use tidemill_contract::testing::{RedisServer, TIME, kafka_event, kafka_event_at};

/// The timestamp of other records than those at `TIME`.
const LATER: i64 = TIME + 1000;

fn tick(time: &str, price: &str) -> String {
    json!({"symbol": "BTCUSDT", "price": price, "quantity": "0.50", "exchange": "binance",
        "timestamp": format!("2026-01-01T00:{time}Z"), "tradeId": 7})
    .to_string()
}

fn candle(minute: i64, close: &str) -> String {
    let time = chrono::DateTime::from_timestamp(1_767_225_600 + minute * 60, 0).expect("a time");
    json!({"symbol": "BTCUSDT", "exchange": "X", "interval": "1m", "time": time, "open": "1.5",
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
        json!({"symbol": "BTCUSDT", "exchange": "X", "interval": "1m", "time": 1_767_228_600, "open": 1.5,
            "high": 2.0, "low": 1.0, "close": 1.25, "volume": 10.0})
    );

    let entries: StreamRangeReply =
        redis.xrevrange_count("stream:market-data.crypto.candles:2", "+", "-", 2).await.expect("entries");
    let channels: Vec<_> = entries
        .ids
        .iter()
        .map(|entry| (entry.id.as_str(), entry.get::<String>("channel").expect("a channel")))
        .collect();
    assert_eq!(channels, [("2049-2", "BTCUSDT:1m".into()), ("2049-1", "BTCUSDT@x:1m".into())]);

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

#[tokio::test]
async fn candles_of_two_exchanges_do_not_mix() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let mut redis = server.connect();
    let other = |close: &str| candle(0, close).replace("\"X\"", "\"Y\"");
    let values = [candle(0, "1.1"), other("1.9"), candle(0, "1.2"), other("1.8")];
    write(&context, "market-data.crypto.candles", 0, &values).await;
    for (key, close) in [("BTCUSDT:1m", 1.2), ("BTCUSDT@x:1m", 1.2), ("BTCUSDT@y:1m", 1.8)] {
        let data: HashMap<String, String> = redis.hgetall(format!("candles:{key}:data")).await.expect("data");
        let candle: Value = serde_json::from_str(&data["1767225600"]).expect("JSON");
        assert_eq!((data.len(), &candle["close"]), (1, &json!(close)), "{key}");
    }
}

#[tokio::test]
async fn a_topic_created_again_begins_its_stream_and_the_epoch_anew() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let mut redis = server.connect();
    let write_at = async |time: i64, first: i64, values: &[String]| {
        let values: Vec<_> = values.iter().map(|value| Some(value.as_str())).collect();
        let event = kafka_event_at(time, "price-ticks", 2, first, &values);
        handle(&context, event).await.expect("an answer");
    };
    let old: Vec<String> = (0..5).map(|second| tick(&format!("00:0{second}"), "1")).collect();
    write_at(TIME, 0, &old).await;
    let _: () = redis.set("edge:epoch", "an epoch").await.expect("a value");
    let once = dump(&context).await;
    write_at(TIME, 0, &old).await;
    write_at(TIME, 3, &old[3..]).await;
    assert_eq!(dump(&context).await, once, "a redelivered record changes nothing");

    let new = [tick("00:07", "2"), tick("00:08", "3")];
    write_at(LATER, 0, &new[..1]).await;
    write_at(LATER, 0, &new).await;
    let entries: StreamRangeReply = redis.xrange_all("stream:price-ticks:2").await.expect("entries");
    let ids: Vec<&str> = entries.ids.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["0-1", "1-1"], "what was in the stream has gone with its topic");
    let epoch: Option<String> = redis.get("edge:epoch").await.expect("an answer");
    assert_eq!(epoch, None, "the next edge to look names a new one");
    let latest: String = redis.hget("prices:latest", "BTCUSDT").await.expect("a price");
    assert!(latest.contains("\"3\""), "{latest}");
}

#[tokio::test]
async fn two_writers_of_a_partition_write_each_record_once() {
    let server = RedisServer::start().await;
    let values: Vec<String> = (0..50).map(|_| tick("00:01", "1")).collect();
    let writers = [(); 2].map(|()| {
        let (context, values) = (Context { redis: server.connect() }, values.clone());
        tokio::spawn(async move {
            for (first, values) in (0..).step_by(5).zip(values.chunks(5)) {
                write(&context, "price-ticks", first, values).await;
            }
        })
    });
    for writer in writers {
        writer.await.expect("every batch was written");
    }
    let entries: usize = server.connect().xlen("stream:price-ticks:2").await.expect("a length");
    assert_eq!(entries, 50);
}

#[tokio::test]
async fn times_ahead_of_the_clock_are_refused_or_not_believed() {
    let server = RedisServer::start().await;
    let context = Context { redis: server.connect() };
    let mut redis = server.connect();
    let future = |text: String| text.replace("2026-01-01", "2999-01-01");
    for (topic, values) in [
        ("price-ticks", [future(tick("00:01", "7")), tick("00:02", "8")]),
        ("market-data.crypto.candles", [future(candle(0, "7")), candle(0, "1.5")]),
    ] {
        let answer = write(&context, topic, 0, &values).await;
        let failures: Vec<_> = answer
            .batch_item_failures
            .iter()
            .map(|failure| (failure.item_identifier.offset, failure.error_type.as_str()))
            .collect();
        assert_eq!(failures, [(0, "MalformedEvent")], "{topic}");
    }
    let latest: String = redis.hget("prices:latest", "BTCUSDT").await.expect("a price");
    assert!(latest.contains("\"8\""), "{latest}");

    write(&context, "enriched-articles", 0, &[future(article("a", 1)), article("b", 1)]).await;
    let newest: Vec<(String, i64)> = redis.zrange_withscores("articles:byTime", 0, -1).await.expect("articles");
    assert_eq!(newest, [("a".to_owned(), TIME), ("b".to_owned(), TIME + 1000)], "known when Kafka had it");
}
