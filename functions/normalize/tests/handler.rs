//! The whole function against a real redis-server and an S3 server in this process.

use std::io::Read;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use normalize::archive::Archive;
use normalize::context::Context;
use normalize::handler::handle;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use tidemill_contract::Answer;
use tidemill_contract::testing::{RedisServer, free_port, kafka_event};

const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// An S3 server over `folder`; gives its address.
async fn s3(folder: &Path) -> String {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).expect("a folder"));
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // A connection's end, however it comes, is the client's business.
                drop(http.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    endpoint
}

fn context(redis: &RedisServer, endpoint: &str) -> Context {
    let archive = Archive::at(endpoint, KEY, SECRET, "articles").expect("an archive");
    Context { redis: redis.connect(), archive }
}

fn page(body: &str) -> String {
    format!("<html><head><title>Report</title></head><body><article>{body}</article></body></html>")
}

fn story(what: &str) -> String {
    let sentence = format!("The price of Bitcoin followed the {what} through the day. ");
    page(&format!("<h1>About the {what}</h1><p>{}</p>", sentence.repeat(8)))
}

fn crawled(url: &str, html: &str) -> String {
    json!({"eventId": "e1", "url": url, "title": "", "rawHtml": html, "source": "test",
        "crawledAt": "2026-03-04T05:06:07Z", "metadata": {}})
    .to_string()
}

async fn answer(context: &Context, first: i64, values: &[&str]) -> Answer {
    let values: Vec<_> = values.iter().map(|value| Some(*value)).collect();
    handle(context, kafka_event("raw-articles", 0, first, &values)).await.expect("an answer")
}

fn offsets(items: impl Iterator<Item = i64>) -> Vec<i64> {
    items.collect()
}

#[tokio::test]
async fn every_record_is_accounted_for() {
    let (redis, folder) = (RedisServer::start().await, tempfile::tempdir().expect("a folder"));
    let context = context(&redis, &s3(folder.path()).await);
    let story = story("meeting");
    let values = [
        crawled("http://news.example/a?utm_source=feed", &story),
        crawled("http://news.example/a", &story),
        crawled("http://news.example/pdf", "%PDF-1.7 \u{0}\u{1}"),
        crawled("http://news.example/empty", &page("<script>x</script>").replace("Report", "")),
        "{".to_owned(),
        crawled("ftp://news.example/a", &story),
    ];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let answer = answer(&context, 10, &values).await;
    assert_eq!(answer.records.len(), 1);
    assert_eq!(offsets(answer.dropped.iter().map(|d| d.item_identifier.offset)), [11]);
    assert_eq!(answer.dropped[0].reason, "duplicate");
    let failures: Vec<_> = answer
        .batch_item_failures
        .iter()
        .map(|failure| (failure.item_identifier.offset, failure.error_type.as_str()))
        .collect();
    assert_eq!(failures, [(12, "NotHtml"), (13, "NoText"), (14, "MalformedEvent"), (15, "MalformedEvent")]);

    let article = &answer.records[0].value;
    assert_eq!(article["url"], "http://news.example/a");
    assert_eq!(article["title"], "About the meeting");
    assert_eq!(article["symbols"], json!(["BTC"]));
    assert_eq!(article["language"], "en");
    assert_eq!(article["publishedAt"], "2026-03-04T05:06:07Z");
    assert!(article["body"].as_str().is_some_and(|body| body.contains("through the day")));
    let id = article["articleId"].as_str().expect("an id");
    let file = folder.path().join(format!("articles/raw/2026/03/04/{id}.html.gz"));
    let mut archived = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).expect("the archived page"))
        .read_to_string(&mut archived)
        .expect("a compressed page");
    assert_eq!(archived, story);
}

#[tokio::test]
async fn a_redelivered_record_is_answered_again_and_a_later_copy_is_dropped() {
    let (redis, folder) = (RedisServer::start().await, tempfile::tempdir().expect("a folder"));
    let context = context(&redis, &s3(folder.path()).await);
    let value = crawled("http://news.example/a", &story("vote"));
    let once = answer(&context, 5, &[&value]).await;
    assert_eq!(once.records.len(), 1);
    assert_eq!(answer(&context, 5, &[&value]).await, once);
    let later = answer(&context, 6, &[&value]).await;
    assert_eq!((later.records.len(), later.dropped.len()), (0, 1));
}

#[tokio::test]
async fn nothing_is_claimed_while_the_archive_is_away() {
    let (redis, folder) = (RedisServer::start().await, tempfile::tempdir().expect("a folder"));
    let value = crawled("http://news.example/a", &story("storm"));
    let away = context(&redis, &format!("http://127.0.0.1:{}", free_port()));
    let event = kafka_event("raw-articles", 0, 5, &[Some(&value)]);
    handle(&away, event).await.expect_err("no archive");
    // The record comes back under another offset, as a replayed dead letter does.
    let back = context(&redis, &s3(folder.path()).await);
    assert_eq!(answer(&back, 9, &[&value]).await.records.len(), 1);
}

#[tokio::test]
async fn redis_away_fails_the_batch() {
    let (redis, folder) = (RedisServer::start().await, tempfile::tempdir().expect("a folder"));
    let context = context(&redis, &s3(folder.path()).await);
    drop(redis);
    let value: Value = serde_json::from_str(&crawled("http://a.example/a", &story("x"))).expect("JSON");
    let event = kafka_event("raw-articles", 0, 5, &[Some(&value.to_string())]);
    handle(&context, event).await.expect_err("no Redis");
}

#[tokio::test]
async fn no_article_is_from_after_it_was_crawled() {
    let (redis, folder) = (RedisServer::start().await, tempfile::tempdir().expect("a folder"));
    let context = context(&redis, &s3(folder.path()).await);
    let page = |name: &str, crawled_at: &str, published: &str| {
        json!({"eventId": name, "url": format!("http://news.example/{name}"), "title": "", "rawHtml": story(name),
            "source": "test", "crawledAt": crawled_at, "metadata": {"publishedAt": published}})
        .to_string()
    };
    let crawled_at = "2026-03-04T05:06:07Z";
    let values = [
        page("past", crawled_at, "2026-03-01T00:00:00Z"),
        page("far", crawled_at, "2999-01-01T00:00:00Z"),
        page("ahead", crawled_at, "2026-03-04T23:00:00Z"),
        page("clock", "2999-01-01T00:00:00Z", "2026-03-01T00:00:00Z"),
    ];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let answer = answer(&context, 0, &values).await;
    let times: Vec<_> = answer.records.iter().map(|record| record.value["publishedAt"].clone()).collect();
    assert_eq!(times, ["2026-03-01T00:00:00Z", crawled_at, crawled_at]);
    let failure = &answer.batch_item_failures[0];
    assert_eq!((failure.item_identifier.offset, failure.error_type.as_str()), (3, "MalformedEvent"));
}
