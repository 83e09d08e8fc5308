//! The whole function against a real redis-server.

use aggregate::context::Context;
use aggregate::handler::{Error, handle};
use aggregate::state::State;
use aggregate::store;
use serde_json::{Value, json};
use tidemill_contract::Answer;
use tidemill_contract::testing::{RedisServer, kafka_event};

fn tick(id: u64, time: &str, price: &str) -> String {
    json!({"symbol": "BTCUSDT", "price": price, "quantity": "0.5", "exchange": "binance",
        "timestamp": format!("2026-01-01T00:{time}Z"), "tradeId": id})
    .to_string()
}

async fn answer(context: &Context, first: i64, values: &[&str]) -> Answer {
    let values: Vec<_> = values.iter().map(|value| Some(*value)).collect();
    handle(context, kafka_event("price-ticks", 3, first, &values)).await.expect("an answer")
}

/// `interval open high low close volume trades` of each candle.
fn candles(answer: &Answer) -> Vec<String> {
    let text = |value: &Value, name: &str| value[name].to_string().replace('"', "");
    answer
        .records
        .iter()
        .map(|record| {
            assert_eq!(record.key, "BTCUSDT");
            let fields = ["interval", "open", "high", "low", "close", "volume", "tradeCount"];
            fields.map(|name| text(&record.value, name)).join(" ")
        })
        .collect()
}

#[tokio::test]
async fn candles_over_batches_duplicates_and_redelivery() {
    let redis = RedisServer::start().await;
    let context = Context { redis: redis.connect() };
    let first = [tick(1, "00:10", "100.10"), tick(2, "00:20", "99"), tick(1, "00:10", "100.10"), "{".into()];
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let once = answer(&context, 0, &first).await;
    assert_eq!(candles(&once), ["1m 100.1 100.1 99 99 1 2", "5m 100.1 100.1 99 99 1 2"]);
    assert_eq!(once.dropped.len(), 1);
    assert_eq!((once.dropped[0].item_identifier.offset, once.batch_item_failures.len()), (2, 1));

    let again = answer(&context, 0, &first).await;
    assert_eq!(candles(&again), candles(&once), "told again, not counted again");

    let late = tick(3, "00:05", "101.5");
    let late = answer(&context, 4, &[&late, &tick(4, "01:00", "98")]).await;
    assert_eq!(candles(&late), ["1m 101.5 101.5 99 99 1.5 3", "1m 98 98 98 98 0.5 1", "5m 101.5 101.5 98 98 2 4"]);
    assert_eq!(late.records[0].value["time"], "2026-01-01T00:00:00Z");
    assert_eq!(late.records[0].value["vwap"], "100.2");
}

#[tokio::test]
async fn a_stale_writer_changes_nothing() {
    let redis = RedisServer::start().await;
    let context = Context { redis: redis.connect() };
    let read = State::default();
    answer(&context, 7, &[&tick(1, "00:10", "100")]).await;
    let mut now = read.clone();
    now.advance("price-ticks-3", 7);
    let error = store::save(&context.redis, &read, &now).await.expect_err("stale");
    assert!(matches!(error, store::Error::Stale { .. }), "{error}");
}

#[tokio::test]
async fn redis_away_fails_the_batch() {
    let redis = RedisServer::start().await;
    let context = Context { redis: redis.connect() };
    drop(redis);
    let event = kafka_event("price-ticks", 0, 0, &[Some(&tick(1, "00:10", "100"))]);
    let error = handle(&context, event).await.expect_err("no Redis");
    assert!(matches!(error, Error::Store(_)), "{error}");
}
