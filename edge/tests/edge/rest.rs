//! Questions and answers over HTTP.

use crate::support::{Edge, Notify, Redis};
use serde_json::{Value, json};

async fn filled() -> (Redis, Edge) {
    let redis = Redis::start().await;
    let mut notify = Notify::new(&redis).await;
    for number in 1..=45 {
        notify.article(0, number).await;
    }
    for number in 1..=300 {
        notify.candle("BTCUSDT", number * 60, 1.0).await;
    }
    notify.price("ETHUSDT", 2).await;
    notify.price("BTCUSDT", 1).await;
    let edge = Edge::start(&redis).await;
    (redis, edge)
}

fn list(body: &Value, list: &str, field: &str) -> Vec<Value> {
    body[list]
        .as_array()
        .unwrap_or_else(|| panic!("no {list} in {body}"))
        .iter()
        .map(|item| item[field].clone())
        .collect()
}

#[tokio::test]
async fn articles_come_in_pages_newest_first() {
    let (_redis, edge) = filled().await;
    for (query, first, count, page, size) in [
        ("", "a45", 20, 1, 20),
        ("?page=2", "a25", 20, 2, 20),
        ("?page=3&size=20", "a5", 5, 3, 20),
        ("?page=4", "", 0, 4, 20),
        ("?size=100", "a45", 45, 1, 100),
        ("?page=45&size=1", "a1", 1, 45, 1),
    ] {
        let (status, body) = edge.get(&format!("/api/articles{query}")).await;
        assert_eq!(status, 200, "{query}");
        let ids = list(&body, "articles", "articleId");
        assert_eq!(ids.len(), count, "{query}");
        assert_eq!(ids.first().and_then(Value::as_str).unwrap_or(""), first, "{query}");
        let expected = json!({"page": page, "size": size, "total": 45, "pages": 45usize.div_ceil(size)});
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(&body[name], value, "{name} of {query}");
        }
    }
    let (status, article) = edge.get("/api/articles/a7").await;
    assert_eq!((status, &article["title"]), (200, &json!("Title 7")));
    let (status, body) = edge.get("/api/articles/none").await;
    assert_eq!(status, 404);
    assert!(body["error"].is_string(), "{body}");
}

#[tokio::test]
async fn candles_come_oldest_first_up_to_the_newest() {
    let (_redis, edge) = filled().await;
    for (query, first, count) in [
        ("symbol=BTCUSDT", 101, 200),
        ("symbol=btcusdt&interval=1m&limit=5", 296, 5),
        ("symbol=BTCUSDT&limit=2000", 1, 300),
        ("symbol=NONE", 0, 0),
        ("symbol=BTCUSDT&interval=1h", 0, 0),
    ] {
        let (status, body) = edge.get(&format!("/api/prices/historical?{query}")).await;
        assert_eq!(status, 200, "{query}");
        let times = list(&body, "candles", "time");
        let expected: Vec<Value> = (first..first + count).map(|number| json!(number * 60)).collect();
        assert_eq!(times, expected, "{query}");
    }
}

#[tokio::test]
async fn latest_prices_come_by_symbol() {
    let (_redis, edge) = filled().await;
    let (status, body) = edge.get("/api/prices/latest").await;
    assert_eq!(status, 200);
    assert_eq!(list(&body, "prices", "symbol"), ["BTCUSDT", "ETHUSDT"]);
    assert_eq!(list(&body, "prices", "price"), ["1", "2"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let (_redis, edge) = filled().await;
    for (path, field) in [
        ("/api/articles?page=0", "page"),
        ("/api/articles?page=x", "page"),
        ("/api/articles?size=101", "size"),
        ("/api/prices/historical", "symbol"),
        ("/api/prices/historical?symbol=a%20b", "symbol"),
        ("/api/prices/historical?symbol=A&interval=2m", "interval"),
        ("/api/prices/historical?symbol=A&limit=0", "limit"),
        ("/api/prices/historical?symbol=A&limit=2001", "limit"),
        ("/api/prices/historical?symbol=A&exchange=a%20b", "exchange"),
        ("/api/articles/%ff", "path"),
        ("/ws/candles/%ff/1m", "path"),
        ("/ws/candles/BTCUSDT/7m", "interval"),
        ("/ws/candles/a%3Ab/1m", "symbol"),
    ] {
        let (status, body) = edge.get(path).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{path}: {body}");
        assert!(body["expected"].is_string() && body["error"].is_string(), "{path}: {body}");
    }
    assert_eq!(edge.get("/nowhere").await.0, 404);
    let url = format!("http://{}/api/articles", edge.addr);
    let refused = reqwest::Client::new().post(url).send().await.expect("the edge answers");
    assert_eq!(refused.status(), 405);
    let text = refused.text().await.expect("a body");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(body["error"].is_string(), "{body}");
    assert_eq!(edge.get("/ws/prices").await.0, 426);
}

#[tokio::test]
async fn redis_away_is_said_and_what_is_in_memory_is_served() {
    let (mut redis, edge) = filled().await;
    redis.kill();
    let (status, body) = edge.get("/api/articles").await;
    assert_eq!(status, 503, "{body}");
    assert_eq!(edge.get("/api/prices/latest").await.0, 200);
    assert_eq!(edge.get("/live").await.0, 200);
}

#[tokio::test]
async fn health_and_metrics_tell_how_it_is() {
    let (_redis, edge) = filled().await;
    let mut socket = edge.prices("*").await;
    socket.until("subscribed").await;
    let (status, health) = edge.get("/health").await;
    assert_eq!(status, 200);
    let expected = json!({"status": "healthy", "redis": "connected", "connections": 1, "maxConnections": 12000});
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&health[name], value, "{name}");
    }
    assert!(health["uptimeSeconds"].is_u64());
    let (_, metrics) = edge.get("/metrics").await;
    let metrics = metrics.as_str().expect("text");
    for name in [
        "tidemill_edge_connections ",
        "tidemill_edge_messages_sent_total{kind=\"price\"}",
        "tidemill_edge_skipped_total",
        "tidemill_edge_redis_reconnects_total",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
}
