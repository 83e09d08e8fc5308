//! Nothing is lost and nothing comes twice, whatever happens to Redis.

use crate::support::{Edge, Notify, Redis, eventually};
use serde_json::Value;
use std::time::Duration;

/// Far above what the tests write, so that nothing is conflated.
const FAST: u32 = 1_000_000;

fn price(message: &Value) -> u64 {
    assert_eq!(message["type"], "price", "{message}");
    message["price"].as_str().and_then(|price| price.parse().ok()).unwrap_or_else(|| panic!("no price in {message}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_snapshot_and_then_every_update() {
    const LAST: u64 = 3000;
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start_with(&redis, |config| config.max_broadcast_rate = FAST).await;
    let writer = tokio::spawn(async move {
        for price in 2..=LAST {
            notify.price("BTCUSDT", price).await;
        }
    });
    let mut clients = Vec::new();
    for number in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut socket = edge.prices(if number % 4 == 0 { "*" } else { "BtcUsdt" }).await;
        clients.push(tokio::spawn(async move {
            let first = socket.next().await;
            assert_eq!(first["channel"], "btcusdt");
            for field in ["symbol", "quantity", "timestamp"] {
                assert!(first[field].is_string(), "{field} in {first}");
            }
            let (_, live) = socket.until("subscribed").await;
            let mut seen = price(&first);
            while seen < LAST {
                let message = socket.next().await;
                let position = &message["position"];
                assert_eq!(position["epoch"], live["position"]["epoch"]);
                assert_eq!(position["offset"], format!("price-ticks:0@{}-1", price(&message)));
                let skipped = message["skipped"].as_u64().unwrap_or(0);
                assert_eq!(price(&message), seen + 1 + skipped, "a gap or a double after {seen}");
                seen = price(&message);
            }
        }));
    }
    for client in clients {
        client.await.expect("a client saw every update");
    }
    writer.await.expect("the writer is done");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_and_restarted_loses_nothing() {
    let mut redis = Redis::start_durable().await;
    let mut notify = Notify::new(&redis).await;
    notify.article(0, 1).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut articles = edge.connect("/ws/articles").await;
    articles.until("subscribed").await;
    let mut prices = edge.prices("btcusdt").await;
    prices.until("subscribed").await;

    for round in 0..3 {
        redis.kill();
        eventually("the edge to notice", async || (edge.get("/health").await.0 == 503).then_some(())).await;
        assert_eq!(edge.get("/ready").await.0, 200, "what was read is still served");
        redis.restart().await;
        notify.reconnect(&redis).await;
        for number in 2 + round * 10..12 + round * 10 {
            notify.article(u8::try_from(number % 3).expect("small"), number).await;
        }
        notify.price("BTCUSDT", 2 + round).await;
        for number in 2 + round * 10..12 + round * 10 {
            let message = articles.next().await;
            assert_eq!(message["type"], "article", "{message}");
            // Partitions have no order among each other.
            let id: u64 = message["articleId"].as_str().expect("an id")[1..].parse().expect("a number");
            assert!((2 + round * 10..12 + round * 10).contains(&id), "{id} came in place of {number}");
        }
        assert_eq!(price(&prices.next().await), 2 + round);
        eventually("the edge to be well", async || (edge.get("/health").await.0 == 200).then_some(())).await;
    }
    assert!(articles.is_quiet().await, "nothing comes twice");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_a_new_epoch_and_a_new_beginning() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    for number in 1..=50 {
        notify.price("BTCUSDT", number).await;
    }
    let edge = Edge::start(&redis).await;
    let mut socket = edge.prices("btcusdt").await;
    let (snapshot, live) = socket.until("subscribed").await;
    assert_eq!(price(&snapshot[0]), 50);

    notify.flush().await;
    notify.rewind();
    notify.price("BTCUSDT", 7).await;
    let reset = socket.next().await;
    assert_eq!(reset["type"], "reset", "{reset}");
    assert_ne!(reset["epoch"], live["position"]["epoch"]);
    let (snapshot, again) = socket.until("subscribed").await;
    assert_eq!(snapshot.iter().map(price).collect::<Vec<_>>(), [7]);
    assert_eq!(again["position"]["epoch"], reset["epoch"]);
    notify.price("BTCUSDT", 8).await;
    assert_eq!(price(&socket.next().await), 8);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_again_is_a_new_epoch_and_what_else_there_is_stays() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.article(0, 1).await;
    for number in 1..=50 {
        notify.price("BTCUSDT", number).await;
    }
    let edge = Edge::start(&redis).await;
    let mut socket = edge.prices("btcusdt").await;
    let (_, live) = socket.until("subscribed").await;

    notify.begin_anew("price-ticks:0").await;
    notify.price("BTCUSDT", 51).await;
    let (before, reset) = socket.until("reset").await;
    assert!(before.is_empty(), "{before:?}");
    assert_ne!(reset["epoch"], live["position"]["epoch"]);
    let (snapshot, again) = socket.until("subscribed").await;
    assert_eq!(snapshot.iter().map(price).collect::<Vec<_>>(), [51]);
    assert_eq!(again["position"]["offset"], "price-ticks:0@1-1");
    notify.price("BTCUSDT", 52).await;
    assert_eq!(price(&socket.next().await), 52);
    let mut articles = edge.connect("/ws/articles").await;
    assert_eq!(articles.next().await["articleId"], "a1");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_trimmed_unread_are_a_reset_in_the_same_epoch() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut socket = edge.prices("btcusdt").await;
    let (_, live) = socket.until("subscribed").await;

    // At one instant, more than the stream keeps.
    notify.prices_at_once("BTCUSDT", 2..=3000, 1000).await;
    let reset = socket.next().await;
    assert_eq!(reset["type"], "reset", "nothing comes before the client is told: {reset}");
    assert_eq!(reset["epoch"], live["position"]["epoch"]);
    let (snapshot, _) = socket.until("subscribed").await;
    assert_eq!(snapshot.iter().map(price).collect::<Vec<_>>(), [3000]);
    notify.price("BTCUSDT", 3001).await;
    assert_eq!(price(&socket.next().await), 3001);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_appear_later_are_read_from_their_beginning() {
    let redis = Redis::start().await;
    let edge = Edge::start(&redis).await;
    let mut socket = edge.connect("/ws/articles").await;
    assert_eq!(socket.next().await["type"], "subscribed");
    let mut notify = Notify::new(&redis).await;
    for number in 1..=30 {
        notify.article(u8::try_from(number % 3).expect("small"), number).await;
    }
    let mut got = Vec::new();
    let mut last = Value::Null;
    for _ in 1..=30 {
        last = socket.next().await;
        got.push(last["articleId"].as_str().expect("an id")[1..].parse::<u64>().expect("a number"));
    }
    got.sort_unstable();
    assert_eq!(got, (1..=30).collect::<Vec<_>>());
    let offset = last["position"]["offset"].as_str().expect("an offset");
    assert_eq!(offset, "enriched-articles:0@10-1,enriched-articles:1@10-1,enriched-articles:2@10-1");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_come_after_the_edge_and_its_clients() {
    let mut redis = Redis::start_durable().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    notify.candle("BTCUSDT", 60, 2.0).await;
    redis.kill();
    let edge = Edge::start_unready(&redis, |_| ()).await;
    let mut prices = edge.prices("btcusdt").await;
    let mut all = edge.prices("all").await;
    let mut candles = edge.connect("/ws/candles/btcusdt/1m").await;
    assert!(prices.is_quiet().await);
    assert_eq!(edge.get("/ready").await.0, 503);
    assert_eq!(edge.get("/api/prices/latest").await.0, 503);
    redis.restart().await;
    assert_eq!(price(&prices.next().await), 1);
    assert_eq!(price(&all.next().await), 1);
    assert_eq!(candles.next().await["time"], 60);
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_makes_no_sense_is_left_out() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut socket = edge.prices("btcusdt").await;
    socket.until("subscribed").await;
    notify.nonsense().await;
    notify.price("BTCUSDT", 3).await;
    assert_eq!(price(&socket.next().await), 3);
    edge.stop().await;
}
