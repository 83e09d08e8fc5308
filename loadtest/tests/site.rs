//! The site as a crawler meets it, and its layouts as `normalize` reads them.

use std::time::Duration;

use chrono::Utc;
use normalize::{extract, html};
use reqwest::{Client, StatusCode, redirect};
use tidemill_loadtest::news::{Release, articles, router};
use trafilatura::dom::Document;
use url::Url;

async fn site(release: Release) -> (String, Client) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let site = router(release).expect("good layouts");
    tokio::spawn(async move { axum::serve(listener, site).await });
    let client = Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
    (url, client)
}

fn all_out() -> Release {
    Release { opened: Utc::now(), first: 0, every: None }
}

async fn text(client: &Client, url: &str) -> String {
    let response = client.get(url).send().await.expect("an answer");
    response.error_for_status().expect("a page").text().await.expect("text")
}

/// The main text as `normalize` finds it.
async fn main_text(client: &Client, at: &str) -> String {
    let page = text(client, at).await;
    let page = html::repair(&page);
    let fetched = Url::parse(at).expect("a URL");
    extract::main_text(&page, &Document::parse(&page), &fetched).expect("text").text
}

#[tokio::test]
async fn every_layout_gives_its_article_and_nothing_else() {
    let (url, client) = site(all_out()).await;
    let frame = ["Cookie", "cookies", "Advertisement", "Republication", "Recommended", "Subscribe"];
    for article in articles() {
        let main = main_text(&client, &format!("{url}/news/{}", article.slug)).await;
        let flat = main.replace('\n', " ");
        for paragraph in &article.paragraphs {
            let start: String = paragraph.chars().take(60).collect();
            assert!(flat.contains(&start), "{}: {start:?} is not in {main:?}", article.slug);
        }
        for word in frame {
            assert!(!main.contains(word), "{}: {word:?} is in {main:?}", article.slug);
        }
    }
}

#[tokio::test]
async fn the_broken_page_still_has_its_story() {
    let (url, client) = site(all_out()).await;
    let main = main_text(&client, &format!("{url}/broken/ferry-captains")).await;
    assert!(main.contains("northern sounds") && main.contains("deckhands"), "{main}");
}

#[tokio::test]
async fn what_real_sites_have_besides() {
    let (url, client) = site(all_out()).await;
    let get = async |path: &str| client.get(format!("{url}{path}")).send().await.expect("an answer");
    let status = async |path: &str| get(path).await.status();
    assert!(text(&client, &format!("{url}/robots.txt")).await.contains("Disallow: /subscribers/"));
    assert_eq!(status("/news/ledger-outage").await, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(status("/news/no-such-article").await, StatusCode::NOT_FOUND);
    assert_eq!(status("/old/velora-doubles-forecast").await, StatusCode::MOVED_PERMANENTLY);
    let report = get("/files/quarterly-report").await;
    assert!(report.headers()["content-type"].to_str().expect("text").starts_with("text/html"));
    assert!(report.bytes().await.expect("bytes").starts_with(b"%PDF"));

    let front = get("/").await;
    let etag = front.headers()["etag"].clone();
    assert!(front.text().await.expect("text").contains("/partners/shares-rally"));
    let again = client.get(&url).header("if-none-match", etag).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let copy = text(&client, &format!("{url}/partners/shares-rally-as-inflation-cools")).await;
    assert!(copy.contains("<link rel=\"canonical\" href=\"/news/shares-rally-as-inflation-cools\">"));
}

#[tokio::test]
async fn what_is_not_out_is_neither_listed_nor_found() {
    let release = Release { opened: Utc::now(), first: 2, every: Some(Duration::from_secs(3_600)) };
    let (url, client) = site(release).await;
    let front = text(&client, &url).await;
    let articles = articles();
    assert!(front.contains(&articles[1].slug));
    let third = format!("/news/{}", articles[2].slug);
    assert!(!front.contains(&third));
    let response = client.get(format!("{url}{third}")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
