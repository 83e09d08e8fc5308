//! The whole function against a real redis-server and a web site in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use crawl::config;
use crawl::context::Context;
use crawl::fetch::Fetcher;
use crawl::handler::handle;
use lambda_runtime::LambdaEvent;
use serde_json::json;
use tidemill_contract::Answer;
use tidemill_contract::testing::{RedisServer, free_port};

/// A site whose listing and troubles the test decides.
#[derive(Default)]
struct Site {
    listed: Mutex<Vec<&'static str>>,
    broken: AtomicBool,
    not_modified: AtomicUsize,
    asked: Mutex<HashMap<String, usize>>,
}

async fn index(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let listed = site.listed.lock().expect("the list").clone();
    let etag = format!("\"{}\"", listed.len());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag.as_str()) {
        site.not_modified.fetch_add(1, Ordering::Relaxed);
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let links: String = listed.iter().map(|to| format!("<h2><a href='/{to}'>x</a></h2>")).collect();
    ([(header::ETAG, etag)], Html(links)).into_response()
}

async fn article(State(site): State<Arc<Site>>, Path(name): Path<String>) -> Response {
    *site.asked.lock().expect("the count").entry(name.clone()).or_default() += 1;
    match name.as_str() {
        "gone" => StatusCode::NOT_FOUND.into_response(),
        "flaky" if site.broken.load(Ordering::Relaxed) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "moved" => Redirect::permanent("/a?utm_source=old").into_response(),
        "trap" => Redirect::temporary("/private/x").into_response(),
        "paper" => ([(header::CONTENT_TYPE, "application/pdf")], "%PDF").into_response(),
        "fake" => ([(header::CONTENT_TYPE, "text/html")], "%PDF").into_response(),
        // Each quotation mark takes two bytes in JSON.
        name if name.starts_with("large") => Html("\"".repeat(450_000)).into_response(),
        "huge" => Html("\"".repeat(600_000)).into_response(),
        _ => Html(format!("<h1>{name}</h1><p>text</p>")).into_response(),
    }
}

async fn serve(site: Arc<Site>) -> String {
    let robots = "User-agent: *\nDisallow: /private/\n";
    let app = Router::new()
        .route("/robots.txt", get(move || async move { robots }))
        .route("/", get(index))
        .route("/private/{name}", get(article))
        .route("/{name}", get(article))
        .with_state(site);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn context(redis: &RedisServer, base_url: &str) -> Context {
    let json = json!({"sources": [{"name": "site", "baseUrl": base_url, "start": ["/"],
        "article": "h2 a", "title": "h1", "delayMs": 0}]});
    let sources = config::parse(&json.to_string(), None).expect("a configuration");
    let fetcher = Fetcher::new().expect("a client");
    Context { redis: redis.connect(), sources, fetcher }
}

async fn crawl_as(context: &Context, id: &str) -> Answer {
    let event = json!({"version": "0", "id": id, "detail-type": "Scheduled Event",
        "source": "aws.events", "time": "2026-01-01T00:00:00Z", "detail": {}});
    let mut lambda = lambda_runtime::Context::default();
    let deadline = SystemTime::now() + Duration::from_secs(60);
    let since_epoch = deadline.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    lambda.deadline = u64::try_from(since_epoch.as_millis()).expect("a time");
    let payload = serde_json::from_value(event).expect("an event");
    handle(context, LambdaEvent::new(payload, lambda)).await.expect("an answer")
}

fn names(answer: &Answer) -> Vec<String> {
    let name = |url: &str| url.rsplit('/').next().unwrap_or(url).to_owned();
    answer.records.iter().map(|record| name(&record.key)).collect()
}

#[tokio::test]
async fn new_links_are_offered_once() {
    let site = Arc::new(Site::default());
    *site.listed.lock().expect("the list") = vec!["a", "b", "gone"];
    let url = serve(site.clone()).await;
    let redis = RedisServer::start().await;
    let context = context(&redis, &url);
    assert_eq!(names(&crawl_as(&context, "e1").await), ["a", "b"]);
    assert_eq!(names(&crawl_as(&context, "e2").await), [""; 0]);
    assert_eq!(names(&crawl_as(&context, "e3").await), [""; 0]);
    let asked = site.asked.lock().expect("the count");
    assert_eq!((asked["a"], asked["gone"]), (1, 1));
}

#[tokio::test]
async fn links_are_offered_again_under_the_same_event_and_once_more_under_the_next() {
    let site = Arc::new(Site::default());
    *site.listed.lock().expect("the list") = vec!["a", "b#top", "moved", "gone"];
    let url = serve(site.clone()).await;
    let redis = RedisServer::start().await;
    let context = context(&redis, &url);

    let first = crawl_as(&context, "e1").await;
    assert_eq!(names(&first), ["a", "b", "a"], "the redirect gives the address it leads to");
    assert_eq!(first.records[0].value["title"], "a");
    let again = crawl_as(&context, "e1").await;
    let ids = |answer: &Answer| -> Vec<String> {
        answer.records.iter().map(|record| record.value["eventId"].to_string()).collect()
    };
    assert_eq!((names(&again), ids(&again)), (names(&first), ids(&first)));
    assert_eq!(site.not_modified.load(Ordering::Relaxed), 1);

    // It came twice, so its last answer may have been lost as the first was.
    assert_eq!(names(&crawl_as(&context, "e2").await), names(&first));
    site.listed.lock().expect("the list").push("c");
    assert_eq!(names(&crawl_as(&context, "e3").await), ["c"]);
    assert_eq!(site.asked.lock().expect("the count")["gone"], 3, "asked by e1 and e2 only");
}

#[tokio::test]
async fn an_answer_is_bounded_and_what_does_not_fit_comes_next_time() {
    let site = Arc::new(Site::default());
    *site.listed.lock().expect("the list") =
        vec!["large1", "huge", "large2", "large3", "large4", "large5", "large6", "large7", "last"];
    let url = serve(site.clone()).await;
    let redis = RedisServer::start().await;
    let context = context(&redis, &url);
    for (event, expected) in [
        ("e1", vec!["large1", "large2", "large3", "large4", "large5"]),
        ("e2", vec!["large6", "large7", "last"]),
        ("e3", vec![]),
    ] {
        let answer = crawl_as(&context, event).await;
        assert_eq!(names(&answer), expected, "{event}");
        let bytes = serde_json::to_vec(&answer).expect("JSON").len();
        assert!(bytes <= 5 * 1024 * 1024, "{bytes} bytes");
        assert!(answer.records.iter().all(|record| record.value.to_string().len() < 1 << 20), "a topic takes it");
    }
    assert_eq!(site.asked.lock().expect("the count")["huge"], 1, "it is given up");
}

#[tokio::test]
async fn a_page_in_trouble_is_tried_again_even_if_its_listing_does_not_change() {
    let site = Arc::new(Site::default());
    *site.listed.lock().expect("the list") = vec!["flaky"];
    site.broken.store(true, Ordering::Relaxed);
    let url = serve(site.clone()).await;
    let redis = RedisServer::start().await;
    let context = context(&redis, &url);
    assert_eq!(names(&crawl_as(&context, "e1").await), [""; 0]);
    site.broken.store(false, Ordering::Relaxed);
    assert_eq!(names(&crawl_as(&context, "e2").await), ["flaky"]);
    assert_eq!(site.not_modified.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn robots_are_obeyed_and_only_html_is_taken() {
    let site = Arc::new(Site::default());
    *site.listed.lock().expect("the list") = vec!["private/x", "trap", "paper", "fake"];
    let url = serve(site.clone()).await;
    let redis = RedisServer::start().await;
    let context = context(&redis, &url);
    assert_eq!(names(&crawl_as(&context, "e1").await), ["fake"]);
    assert!(!site.asked.lock().expect("the count").contains_key("x"), "asked a private page");
}

#[tokio::test]
async fn a_site_away_is_no_error_and_redis_away_is() {
    let redis = RedisServer::start().await;
    let context = context(&redis, &format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(names(&crawl_as(&context, "e1").await), [""; 0]);
    drop(redis);
    let event = json!({"id": "e2", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}});
    let payload = serde_json::from_value(event).expect("an event");
    let event = LambdaEvent::new(payload, lambda_runtime::Context::default());
    handle(&context, event).await.expect_err("no Redis");
}
