//! Candle channels: numbers, snapshot, revisions.

use crate::support::{Edge, Notify, Redis};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

fn close(message: &Value) -> (u64, f64) {
    assert_eq!(message["type"], "candle", "{message}");
    for field in ["time", "open", "high", "low", "close", "volume"] {
        assert!(message[field].is_number(), "{field} in {message}");
    }
    (message["time"].as_u64().expect("a time"), message["close"].as_f64().expect("a close"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_last_200_and_then_what_follows() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    for number in 1..=250 {
        notify.candle("BTCUSDT", number * 60, 1.0).await;
    }
    let edge = Edge::start(&redis).await;
    let mut socket = edge.connect("/ws/candles/btcusdt/1m").await;
    let (snapshot, live) = socket.until("subscribed").await;
    let times: Vec<u64> = snapshot.iter().map(|message| close(message).0).collect();
    assert_eq!(times, (51..=250).map(|number| number * 60).collect::<Vec<_>>());
    assert_eq!(live["channel"], "BTCUSDT:1m");
    assert_eq!(live["position"]["offset"], "market-data.crypto.candles:0@250-1");

    notify.candle("ETHUSDT", 60, 5.0).await;
    notify.candle("BTCUSDT", 250 * 60, 2.0).await;
    notify.candle("BTCUSDT", 251 * 60, 3.0).await;
    assert_eq!(close(&socket.next().await), (250 * 60, 2.0));
    assert_eq!(close(&socket.next().await), (251 * 60, 3.0));

    // The second one is served from what the first one made the edge keep.
    let mut second = edge.connect("/ws/candles/BTCUSDT/1m").await;
    let (snapshot, _) = second.until("subscribed").await;
    assert_eq!(snapshot.len(), 200);
    assert_eq!(snapshot.last().map(close), Some((251 * 60, 3.0)));
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_while_candles_are_written_misses_none() {
    const WRITES: u64 = 2000;
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.candle("BTCUSDT", 60, 0.0).await;
    let edge = Edge::start_with(&redis, |config| config.max_broadcast_rate = 1_000_000).await;
    let writer = tokio::spawn(async move {
        for number in 1..=WRITES {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            notify.candle("BTCUSDT", 60 + number / 100 * 60, number as f64).await;
        }
    });
    let mut clients = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        // Each finds the channel loading, loaded, or forgotten again.
        let mut socket = edge.connect("/ws/candles/BTCUSDT/1m").await;
        clients.push(tokio::spawn(async move {
            let (snapshot, _) = socket.until("subscribed").await;
            let mut candles: BTreeMap<u64, f64> = snapshot.iter().map(close).collect();
            let mut last = candles.values().copied().fold(0.0, f64::max);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            while last < WRITES as f64 {
                let message = socket.next().await;
                let (time, value) = close(&message);
                assert!(value > last, "{value} came after {last}");
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let skipped = message["skipped"].as_u64().unwrap_or(0) as f64;
                assert!((value - last - 1.0 - skipped).abs() < 0.1, "a gap before {value}, after {last}");
                candles.insert(time, value);
                last = value;
            }
            candles
        }));
    }
    writer.await.expect("the writer is done");
    for client in clients {
        let candles = client.await.expect("a client saw every candle");
        assert_eq!(candles.get(&60), Some(&99.0));
        assert_eq!(candles.get(&(60 + 19 * 60)), Some(&1999.0));
    }
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candles_of_one_exchange_are_those_that_name_it() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.candle("BTCUSDT", 60, 1.0).await;
    notify.candle_of("BTCUSDT@kraken:1m", "BTCUSDT", 60, 2.0).await;
    let edge = Edge::start(&redis).await;
    let mut first = edge.connect("/ws/candles/btcusdt/1m").await;
    let mut kraken = edge.connect("/ws/candles/btcusdt/1m?exchange=Kraken").await;
    for (socket, expected, channel) in [(&mut first, 1.0, "BTCUSDT:1m"), (&mut kraken, 2.0, "BTCUSDT@kraken:1m")] {
        let (snapshot, live) = socket.until("subscribed").await;
        assert_eq!(snapshot.iter().map(close).collect::<Vec<_>>(), [(60, expected)]);
        assert_eq!(live["channel"], channel);
    }
    notify.candle_of("BTCUSDT@kraken:1m", "BTCUSDT", 60, 3.0).await;
    assert_eq!(close(&kraken.next().await), (60, 3.0));
    assert!(first.is_quiet().await);
    for (query, expected) in [("", 1.0), ("&exchange=KRAKEN", 3.0)] {
        let (_, body) = edge.get(&format!("/api/prices/historical?symbol=BTCUSDT{query}")).await;
        assert_eq!(body["candles"][0]["close"], expected, "{body}");
    }
    edge.stop().await;
}
