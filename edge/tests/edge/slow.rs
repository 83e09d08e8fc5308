//! A client that doesn't read costs the others nothing, and in the end gets the latest.

use crate::support::{Edge, Notify, Redis, eventually};
use serde_json::json;
use socket2::{Domain, Socket as RawSocket, Type};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// A connection with a small receive buffer, so that little fits between the two sides.
fn narrow_stream(edge: &Edge) -> TcpStream {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&edge.addr.into()).expect("the edge accepts");
    socket.set_nonblocking(true).expect("non-blocking");
    TcpStream::from_std(socket.into()).expect("a stream")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_the_latest_and_delays_nobody() {
    const LAST: u64 = 30_000;
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start_with(&redis, |config| config.max_broadcast_rate = 1_000_000).await;

    let mut slow = edge.connect_on(narrow_stream(&edge), "/ws/prices").await;
    slow.send(&json!({"type": "subscribe", "channel": "btcusdt"})).await;
    let mut fast = edge.prices("btcusdt").await;
    let (snapshot, _) = fast.until("subscribed").await;
    assert_eq!(snapshot.len(), 1);
    let reader = tokio::spawn(async move {
        let (mut seen, mut worst, mut skipped) = (1, Duration::ZERO, 0);
        let mut last = Instant::now();
        while seen < LAST {
            let message = fast.next().await;
            seen = message["price"].as_str().expect("a price").parse().expect("a number");
            skipped += message["skipped"].as_u64().unwrap_or(0);
            worst = worst.max(last.elapsed());
            last = Instant::now();
        }
        (worst, skipped)
    });
    for price in 2..=LAST {
        notify.price("BTCUSDT", price).await;
    }
    let (worst, fast_skipped) = reader.await.expect("the fast client saw the last price");
    assert!(worst < Duration::from_secs(1), "the fast client waited {worst:?}");

    let (mut given, mut skipped, mut seen) = (0, 0, 0);
    while seen < LAST {
        let message = slow.next().await;
        if message["type"] == "price" {
            given += 1;
            skipped += message["skipped"].as_u64().unwrap_or(0);
            seen = message["price"].as_str().expect("a price").parse::<u64>().expect("a number");
        }
    }
    assert_eq!(given + skipped, LAST, "every update was given or counted");
    assert!(skipped > LAST / 4, "the slow client was conflated: {given} given");
    assert!(skipped > fast_skipped, "the fast client skipped {fast_skipped}, the slow one {skipped}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_speaks_at_most_at_its_rate_and_ends_on_the_latest() {
    const LAST: u64 = 2000;
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut socket = edge.prices("btcusdt").await;
    socket.until("subscribed").await;
    let writer = tokio::spawn(async move {
        for price in 2..=LAST {
            notify.price("BTCUSDT", price).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let (mut times, mut counted, mut seen) = (Vec::new(), 1, 1);
    while seen < LAST {
        let message = socket.next().await;
        times.push(Instant::now());
        counted += 1 + message["skipped"].as_u64().unwrap_or(0);
        seen = message["price"].as_str().expect("a price").parse::<u64>().expect("a number");
    }
    writer.await.expect("the writer is done");
    assert_eq!(counted, LAST, "every update was given or counted");
    let elapsed = times[times.len() - 1] - times[0];
    let most = 20.0 * (elapsed.as_secs_f64() + 1.0);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let given = times.len() as f64;
    assert!(given <= most, "{given} messages in {elapsed:?}");
    assert!(given >= most / 2.5, "only {given} messages in {elapsed:?}");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_too_slow_for_articles_is_closed_with_the_reason() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.article(0, 1).await;
    let edge = Edge::start(&redis).await;
    let mut slow = edge.connect_on(narrow_stream(&edge), "/ws/articles").await;
    let mut fast = edge.connect("/ws/articles").await;
    fast.until("subscribed").await;
    // The kernel's buffers take some thousands before the mailbox fills.
    let reader = tokio::spawn(async move {
        let mut last = 1;
        while last < 20_000 {
            last = fast.next().await["articleId"].as_str().expect("an id")[1..].parse().expect("a number");
        }
    });
    for number in 2..=20_000 {
        notify.article(0, number).await;
    }
    reader.await.expect("the fast client saw the last article");
    let (code, messages) = slow.closed().await;
    assert_eq!(code, 1013);
    let notice = messages.last().expect("it was told");
    assert_eq!(notice["type"], "closing");
    assert!(notice["reason"].as_str().is_some_and(|reason| reason.contains("too slow")), "{notice}");
    eventually("its place to be free", async || (edge.get("/health").await.1["connections"] == 0).then_some(())).await;
    edge.stop().await;
}
