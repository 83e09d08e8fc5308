//! What a client may not do, and what it is told.

use crate::support::{Edge, Notify, PATIENCE, Redis, Socket, eventually};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use tokio_websockets::Message;

fn upgrade(edge: &Edge) -> reqwest::RequestBuilder {
    reqwest::Client::new()
        .get(format!("http://{}/ws/prices", edge.addr))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.expect("the edge answers").status().as_u16()
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_told_to_come_back() {
    let redis = Redis::start().await;
    let edge = Edge::start_with(&redis, |config| config.max_connections = 3).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(edge.connect("/ws/articles").await);
    }
    let refused = upgrade(&edge).send().await.expect("the edge answers");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(edge.get("/api/articles").await.0, 200, "questions are still answered");
    sockets.pop();
    eventually("a place to be free", async || (edge.get("/health").await.1["connections"] == 2).then_some(())).await;
    let mut socket = edge.connect("/ws/articles").await;
    assert_eq!(socket.next().await["type"], "subscribed");
    edge.stop().await;
}

#[tokio::test]
async fn pages_from_elsewhere_are_refused() {
    let redis = Redis::start().await;
    let edge = Edge::start_with(&redis, |config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let own = format!("http://{}", edge.addr);
    for (origin, expected) in
        [(own.as_str(), 101), ("https://app.example", 101), ("https://evil.example", 403), ("null", 403)]
    {
        assert_eq!(status(upgrade(&edge).header("origin", origin)).await, expected, "{origin}");
    }
    assert_eq!(status(upgrade(&edge)).await, 101, "no browser");
    let url = format!("http://{}/api/articles", edge.addr);
    let listed =
        reqwest::Client::new().get(url).header("origin", "https://app.example").send().await.expect("an answer");
    assert_eq!(listed.headers()["access-control-allow-origin"], "https://app.example");
    edge.stop().await;
}

#[tokio::test]
async fn what_is_not_understood_is_explained_and_the_socket_stays() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut socket = edge.connect("/ws/prices").await;
    for (text, expected) in [
        ("{", "not JSON"),
        ("{}", "`type` is missing"),
        (r#"{"type":"dance"}"#, "type `dance` is unknown"),
        (r#"{"type":"subscribe"}"#, "`channel` is missing"),
        (r#"{"type":"subscribe","channel":"a b"}"#, "a symbol such as BTCUSDT"),
        (r#"{"type":"unsubscribe","channel":"btcusdt"}"#, "is not subscribed to"),
    ] {
        socket.send_text(text.to_owned()).await;
        let reply = socket.next().await;
        assert_eq!(reply["type"], "error", "{text}");
        assert!(reply["message"].as_str().is_some_and(|message| message.contains(expected)), "{text}: {reply}");
    }
    socket.send(&json!({"type": "ping"})).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));

    socket.send(&json!({"type": "subscribe", "channel": "btcusdt"})).await;
    assert_eq!(socket.next().await["price"], "1");
    assert_eq!(socket.next().await["type"], "subscribed");
    socket.send(&json!({"type": "subscribe", "channel": "btcusdt"})).await;
    assert_eq!(socket.next().await["type"], "error");
    socket.send(&json!({"type": "unsubscribe", "channel": "btcusdt"})).await;
    assert_eq!(socket.next().await, json!({"type": "unsubscribed", "channel": "btcusdt"}));
    notify.price("BTCUSDT", 2).await;
    assert!(socket.is_quiet().await);

    let mut articles = edge.connect("/ws/articles").await;
    articles.until("subscribed").await;
    articles.send(&json!({"type": "subscribe", "channel": "btcusdt"})).await;
    assert_eq!(articles.next().await["type"], "error");
    edge.stop().await;
}

#[tokio::test]
async fn a_message_too_long_closes_the_socket() {
    let redis = Redis::start().await;
    let edge = Edge::start(&redis).await;
    for length in [4097, 60_000] {
        let mut socket = edge.connect("/ws/prices").await;
        socket.send_text("x".repeat(length)).await;
        assert_eq!(socket.closed().await.0, 1009, "{length} bytes");
    }
    let mut socket = edge.connect("/ws/prices").await;
    socket.send_text("x".repeat(4096)).await;
    assert_eq!(socket.next().await["type"], "error");
    edge.stop().await;
}

/// What this process, the edge in it included, holds in memory.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it tells the resident size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_is_closed_and_costs_little() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    let mut other = edge.prices("btcusdt").await;
    other.until("subscribed").await;
    let before = resident_kib();
    let Socket(flooder) = edge.connect("/ws/prices").await;
    let (mut says, mut hears) = flooder.split();
    let flood = tokio::spawn(async move { while says.feed(Message::text("{")).await.is_ok() {} });
    // Nothing is read at first: the answers have nowhere to go.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut answers, mut last) = (0, None);
    let code = loop {
        let message = timeout(PATIENCE, hears.next()).await.expect("an answer in time");
        let message = message.expect("a close frame comes first").expect("the socket works");
        if let Some((code, _)) = message.as_close() {
            break u16::from(code);
        }
        last = message.as_text().map(str::to_owned);
        answers += 1;
        assert!(answers < 5000, "it is let go on");
    };
    assert_eq!(code, 1008);
    assert!(last.is_some_and(|notice| notice.contains("too many messages")));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    timeout(PATIENCE, flood).await.expect("it is not let go on").expect("it ends by itself");
    notify.price("BTCUSDT", 2).await;
    assert_eq!(other.next().await["price"], "2");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_say_much_at_once_and_is_answered_in_order() {
    let redis = Redis::start().await;
    let edge = Edge::start(&redis).await;
    let Socket(socket) = edge.connect("/ws/prices").await;
    let (mut says, mut hears) = socket.split();
    let writer = tokio::spawn(async move {
        for number in 0..1900 {
            // The answers repeat the channel, so that more than sockets hold would have to wait.
            let channel = format!("{number} {}", "x".repeat(4000));
            let text = json!({"type": "unsubscribe", "channel": channel}).to_string();
            says.send(Message::text(text)).await.expect("the socket takes it");
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..1900 {
        let message = timeout(PATIENCE, hears.next()).await.expect("an answer in time");
        let message = message.expect("the socket is open").expect("the socket works");
        let text = message.as_text().expect("a text");
        assert!(text.contains(&format!("`{number} xx")), "answer {number}: {}", &text[..60.min(text.len())]);
    }
    writer.await.expect("all was said");
    edge.stop().await;
}

#[tokio::test]
async fn clients_are_told_when_the_edge_ends() {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    notify.article(0, 1).await;
    let edge = Edge::start(&redis).await;
    let mut sockets = vec![edge.connect("/ws/articles").await, edge.connect("/ws/prices").await];
    eventually("both to be there", async || (edge.get("/health").await.1["connections"] == 2).then_some(())).await;
    edge.begin_stop();
    for socket in &mut sockets {
        let (code, messages) = socket.closed().await;
        assert_eq!(code, 1012);
        let notice = messages.last().expect("it was told");
        assert_eq!((&notice["type"], &notice["code"]), (&json!("closing"), &json!(1012)), "{notice}");
        assert!(notice["retryAfterMs"].as_u64().is_some_and(|ms| ms < 5000), "{notice}");
    }
    edge.stop().await;
}
