//! `tidemill invoke`: a function tried out on records or on one event, without Kafka.

use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
};
use tidemill_e2e::{
    market,
    wait::{PATIENCE, until},
};
use tidemill_testbed::programs;
use tokio::process::Command;

async fn invoke(folder: &Path, words: &[&str]) -> Output {
    let program = programs::own("tidemill").expect("tidemill is built");
    let mut command = Command::new(program);
    command.arg("invoke").args(words).arg("--dir").arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it can be started")
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn page(number: usize) -> Value {
    let body = format!("Ship number {number} came in with the tide and left again before noon. ").repeat(10);
    let html =
        format!("<html><body><nav>Home</nav><article><h1>Ship {number}</h1><p>{body}</p></article></body></html>");
    let url = format!("https://news.example/ship-{number}");
    json!({"key": url, "value": {
        "eventId": format!("00000000-0000-4000-8000-{number:012}"), "url": url, "title": format!("Ship {number}"),
        "rawHtml": html, "source": "e2e", "crawledAt": "2026-01-01T00:00:00Z", "metadata": {},
    }})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_become_articles_and_bad_ones_dead_letters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pages.ndjson");
    let mut records: Vec<Value> = (0..50).map(page).collect();
    records.insert(10, json!({"key": "text", "value": "not an event", "headers": {"trace": "t1"}}));
    records.insert(20, json!({"key": "tombstone", "value": null}));
    records.insert(30, json!({"key": "bytes", "valueBase64": "/////w=="}));
    records.push(page(7));
    let text: Vec<_> = records.iter().map(Value::to_string).collect();
    fs::write(&file, text.join("\n\n")).expect("the folder can be written");

    let output = invoke(&market::folder(), &["normalize", "--records", &file.display().to_string()]).await;
    let (letters, articles): (Vec<_>, Vec<_>) =
        lines(&output).into_iter().partition(|line| line["topic"] == "dlq.raw-articles");
    assert_eq!(articles.len(), 50);
    for article in &articles {
        assert_eq!(article["topic"], "normalized-articles");
        let body = article["value"]["body"].as_str().expect("an article has a body");
        assert!(body.contains("came in with the tide") && !body.contains("Home"), "{body}");
    }
    assert_eq!(letters.len(), 3);
    for letter in &letters {
        assert_eq!(letter["headers"]["error-type"], "MalformedEvent", "{letter}");
        assert_eq!(letter["headers"]["original-topic"], "raw-articles", "{letter}");
    }
    let text = letters.iter().find(|letter| letter["key"] == "text").expect("the text is a letter");
    assert_eq!((&text["value"], &text["headers"]["trace"]), (&json!("not an event"), &json!("t1")));
    let bytes = letters.iter().find(|letter| letter["key"] == "bytes").expect("the bytes are a letter");
    assert_eq!(bytes["valueBase64"], "/////w==");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("54 in, 50 out, 1 dropped, 3 dead-lettered"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_record_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("pages.ndjson");
    let cases = [
        ("{\"value\": ", "line 2"),
        ("{\"valu\": 1}", "unknown field `valu`"),
        ("{\"value\": 1, \"valueBase64\": \"AA==\"}", "not both"),
        ("{\"valueBase64\": \"%\"}", "not base64"),
    ];
    for (line, expected) in cases {
        fs::write(&file, format!("{}\n{line}\n", page(1))).expect("the folder can be written");
        let output = invoke(&market::folder(), &["normalize", "--records", &file.display().to_string()]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("line 2") && said.contains(expected), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_the_clock_crawls_the_site() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let _site = Command::new(programs::own("news-site").expect("it is built"))
        .args(["--addr", &address])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the site starts");
    let robots = format!("http://{address}/robots.txt");
    until("the site", PATIENCE, async || reqwest::get(&robots).await.ok().map(drop)).await;
    let folder = market::copy();
    market::edit(
        folder.path(),
        "local/companions.yaml",
        "http://127.0.0.1:${news-site.port}",
        &format!("http://{address}"),
    );
    let event = folder.path().join("event.json");
    let tick = json!({"id": "e1", "source": "aws.events", "detail-type": "Scheduled Event",
        "time": "2026-01-01T00:00:00Z", "detail": {}, "resources": [], "account": "0", "region": "us-east-1", "version": "0"});
    fs::write(&event, tick.to_string()).expect("the folder can be written");

    let output = invoke(folder.path(), &["crawl", "--event", &event.display().to_string()]).await;
    let answers = lines(&output);
    let records = answers[0]["records"].as_array().expect("the answer has records");
    assert!(records.len() > 20, "{} pages", records.len());
    for record in records {
        assert!(record["key"].as_str().is_some_and(|key| key.starts_with(&format!("http://{address}/"))), "{record}");
        assert_eq!(record["key"], record["value"]["url"]);
    }

    fs::write(&event, "{}").expect("the folder can be written");
    let output = invoke(folder.path(), &["crawl", "--event", &event.display().to_string()]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the function failed") && said.contains("missing field `detail-type`"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_invoked_is_named() {
    let output = invoke(&market::folder(), &["nobody", "--event", "/dev/null"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no function `nobody`") && said.contains("--dir"), "{said}");
    let output = invoke(&market::folder(), &["normalize", "--event", "/dev/null"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the event is not JSON"), "{said}");
}
