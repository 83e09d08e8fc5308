//! The whole function against a real redis-server.

use aggregate::context::Context;
use aggregate::handler::{Error, handle};
use aggregate::state::{Input, State};
use aggregate::store;
use serde_json::{Value, json};
use tidemill_contract::Answer;
use tidemill_contract::life::Point;
use tidemill_contract::testing::{RedisServer, TIME, kafka_event, kafka_event_at};

/// The timestamp of other records than those at `TIME`.
const LATER: i64 = TIME + 1000;

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
    let topic_partition = "price-ticks-3".to_owned();
    let input = Input { tick: None, topic_partition, partition: 3, point: Point { offset: 7, time: TIME } };
    let read = store::load(&context.redis, std::slice::from_ref(&input)).await.expect("Redis answers");
    answer(&context, 7, &[&tick(1, "00:10", "100")]).await;
    let mut now = State::default();
    now.apply(&[input]).expect("nothing to sum up");
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

/// A trade that no id tells from another.
fn anonymous(second: u32) -> String {
    json!({"symbol": "BTCUSDT", "price": "100", "quantity": "0.5", "exchange": "binance",
        "timestamp": format!("2026-01-01T00:00:{second:02}Z")})
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_carry_one_symbol_lose_none_of_each_others_trades() {
    const TRADES: i64 = 200;
    let redis = RedisServer::start().await;
    let writers = [0, 1].map(|partition| {
        let context = Context { redis: redis.connect() };
        tokio::spawn(async move {
            for offset in 0..TRADES {
                let tick = anonymous(30);
                let event = kafka_event("price-ticks", partition, offset, &[Some(&tick)]);
                handle(&context, event).await.expect("an answer");
            }
        })
    });
    for writer in writers {
        writer.await.expect("every batch was counted");
    }
    let context = Context { redis: redis.connect() };
    let answer = answer(&context, 0, &[&anonymous(30)]).await;
    assert_eq!(answer.records[0].value["tradeCount"], 2 * TRADES + 1);
}

#[tokio::test]
async fn a_topic_created_again_is_counted_and_a_redelivered_record_is_not() {
    let redis = RedisServer::start().await;
    let context = Context { redis: redis.connect() };
    let count = async |time: i64, first: i64, seconds: &[u32]| {
        let ticks: Vec<String> = seconds.iter().map(|second| anonymous(*second)).collect();
        let ticks: Vec<_> = ticks.iter().map(|tick| Some(tick.as_str())).collect();
        let event = kafka_event_at(time, "price-ticks", 3, first, &ticks);
        handle(&context, event).await.expect("an answer").records[0].value["tradeCount"].clone()
    };
    assert_eq!(count(TIME, 0, &[1, 2, 3]).await, 3);
    assert_eq!(count(TIME, 0, &[1, 2, 3]).await, 3, "redelivered");
    assert_eq!(count(TIME, 1, &[2, 3]).await, 3, "redelivered in part");
    assert_eq!(count(LATER, 0, &[4]).await, 4, "another record at the same offset");
    assert_eq!(count(LATER, 0, &[4]).await, 4, "redelivered");
    assert_eq!(count(LATER, 1, &[5, 6]).await, 6);
}

#[tokio::test]
async fn a_trade_from_the_future_is_refused() {
    let redis = RedisServer::start().await;
    let context = Context { redis: redis.connect() };
    let future = tick(1, "00:10", "100").replace("2026-01-01", "2999-01-01");
    let answer = answer(&context, 0, &[&future, &tick(2, "00:10", "99")]).await;
    let failure = &answer.batch_item_failures[0];
    assert_eq!((failure.item_identifier.offset, failure.error_type.as_str()), (0, "MalformedEvent"));
    assert!(failure.error_message.contains("ahead of the clock"), "{}", failure.error_message);
    assert_eq!(candles(&answer), ["1m 99 99 99 99 0.5 1", "5m 99 99 99 99 0.5 1"]);
}
