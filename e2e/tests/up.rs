//! `tidemill up` on the market example: its counts add up, what it shows is live, and nothing
//! outlives it.

use futures::{SinkExt, StreamExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::{fs, process::Stdio, time::Duration};
use tempfile::TempDir;
use tidemill_e2e::{
    market, process,
    up::{Counts, Live, Summary, Up},
    wait::{PATIENCE, until},
};
use tidemill_embedded::s3::{ACCESS_KEY, SECRET_KEY};
use tidemill_testbed::{
    kafka::{Cluster, Size},
    redis, s3,
};
use tokio_websockets::{ClientBuilder, Message};

/// How long processes may be seen after the one that they are tied to was killed.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// Redis, the two companions, and runner and function of at least `aggregate` and `notify`.
const PROCESSES: usize = 7;

fn up() -> (Up, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (Up::new(&market::folder(), &folder.path().join("state")), folder)
}

/// Every page crawled became an article, a duplicate or a dead letter, and no tick is missing.
fn adds_up(summary: &Summary) {
    let [crawl, normalize, nlp, aggregate, notify] =
        ["crawl", "normalize", "nlp", "aggregate", "notify"].map(|name| summary.functions[name]);
    assert_eq!(crawl.out, normalize.r#in, "{summary:?}");
    assert_eq!(crawl.out, normalize.out + normalize.dropped + normalize.dead_lettered, "{summary:?}");
    assert_eq!((nlp.r#in, nlp.out, nlp.dead_lettered), (normalize.out, normalize.out, 0), "{summary:?}");
    assert_eq!((aggregate.r#in, aggregate.dead_lettered), (3_000, 0), "{summary:?}");
    assert_eq!(notify.r#in, nlp.out + aggregate.out + 3_000, "{summary:?}");
    assert_eq!(notify.dead_lettered, 0, "{summary:?}");
}

/// A run that has all the news before it.
fn begins_anew(summary: &Summary) {
    adds_up(summary);
    let [crawl, normalize, aggregate] = ["crawl", "normalize", "aggregate"].map(|name| summary.functions[name]);
    let counts = [crawl.out, normalize.out, normalize.dropped, normalize.dead_lettered, aggregate.out];
    assert!(counts.iter().all(|count| *count > 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_add_up_with_state_kept_and_begun_afresh() {
    let (up, _folder) = up();
    let first = up.once(&[]).await;
    begins_anew(&first);
    let kept = up.once(&[]).await;
    adds_up(&kept);
    assert_eq!(kept.functions["crawl"].out, 0, "all pages were known: {kept:?}");
    let fresh = up.once(&["--fresh"]).await;
    begins_anew(&fresh);
    // How often a candle is revised depends on where batches end, and how often the crawl is due on whether a
    // minute begins meanwhile: then it finds nothing new. All else is the same again.
    for name in ["normalize", "nlp"] {
        assert_eq!(first.functions[name], fresh.functions[name], "{name}");
    }
    let found = |summary: &Summary| Counts { r#in: 0, ..summary.functions["crawl"] };
    assert_eq!(found(&first), found(&fresh), "crawl");
    let repeated = |summary: &Summary| summary.functions["aggregate"].dropped;
    assert_eq!(repeated(&first), repeated(&fresh), "the same trades were sent twice");
    assert_eq!(up.processes(), []);
    println!("seconds: first {}, kept {}, fresh {}", first.seconds, kept.seconds, fresh.seconds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_services_stand_in_for_the_embedded_ones() {
    let kafka = tokio::task::spawn_blocking(|| {
        let cluster = Cluster::new(Size::One).expect("the cache folder is known");
        cluster.start().expect("Kafka starts");
        cluster.bootstrap()
    });
    let kafka = kafka.await.expect("starting does not panic");
    let redis = redis::start().expect("Redis starts").address;
    // A database of its own, so that what other tests keep there stays.
    let redis = format!("redis://{redis}/9");
    let s3 = format!("http://{}", s3::start().expect("S3 starts").address);
    let (up, _folder) = up();
    let up = up.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let up = up.with(&["--kafka", &kafka, "--redis", &redis, "--s3", &s3]);
    // What an earlier run has left in the topics is worked off first.
    forget(&redis).await;
    up.once(&[]).await;
    forget(&redis).await;
    begins_anew(&up.once(&[]).await);
}

async fn forget(url: &str) {
    let client = ::redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    ::redis::cmd("FLUSHDB").exec_async(&mut connection).await.expect("Redis forgets");
}

/// A live run whose functions work: the first article and the first price are there.
async fn flowing(up: &Up) -> Live {
    let live = up.live().await;
    until("an article", PATIENCE, async || {
        let response = reqwest::get(up.url("/api/articles")).await.ok()?;
        let page: Value = serde_json::from_str(&response.text().await.ok()?).ok()?;
        page.to_string().contains("\"title\"").then_some(())
    })
    .await;
    // Whatever it starts is found by what it knows, and so will be found when it is left over.
    until("all that it starts to be found", PATIENCE, async || {
        let started = process::descendants(live.pid());
        let known = up.processes();
        let found = started.iter().filter(|process| known.iter().any(|known| known.pid == process.pid)).count();
        (found == started.len() && found >= PROCESSES).then_some(())
    })
    .await;
    live
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_and_prices_are_live_and_ctrl_c_ends_all() {
    let (manifests, state) = (market::copy(), tempfile::tempdir().expect("a temporary folder"));
    let up = Up::new(manifests.path(), &state.path().join("state"));
    let live = flowing(&up).await;
    assert!(live.said().contains(" (instead of KafkaCluster "), "{}", live.said());
    let edited = manifests.path().join("aggregate.yaml");
    let manifest = fs::read_to_string(&edited).expect("the manifest is there");
    fs::write(&edited, manifest + "# edited\n").expect("it can be written");
    until("the edited manifest to be told", PATIENCE, async || {
        live.said().contains("changed   aggregate.yaml: counts when `up` is started again").then_some(())
    })
    .await;
    let uri = format!("ws://127.0.0.1:{}/ws/prices", up.ports[0]);
    let (mut socket, _) =
        ClientBuilder::new().uri(&uri).expect("a URI").connect().await.expect("the edge takes sockets");
    let subscribe = json!({"type": "subscribe", "channel": "btcusdt"}).to_string();
    socket.send(Message::text(subscribe)).await.expect("it can be sent");
    let mut prices = Vec::new();
    while prices.len() < 3 {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("prices come");
        let message = message.expect("the socket is open").expect("a message");
        let message: Value = serde_json::from_str(message.as_text().expect("text")).expect("JSON");
        if let Some(symbol) = message.get("symbol") {
            assert!(symbol.as_str().is_some_and(|symbol| symbol.eq_ignore_ascii_case("btcusdt")), "{message}");
            assert!(["price", "quantity", "timestamp"].iter().all(|field| message.get(field).is_some()), "{message}");
            prices.push(message);
        }
    }
    drop(socket);
    let status = live.end(Signal::SIGINT).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(up.processes(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_leaves_nothing_running() {
    let (up, _folder) = up();
    let live = flowing(&up).await;
    live.end(Signal::SIGKILL).await;
    up.gone(AFTER_KILL).await;
    // What was kept can be gone on with.
    let again = flowing(&up).await;
    assert_eq!(again.end(Signal::SIGINT).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_terminal_ends_all() {
    let (up, _folder) = up();
    let line = up.words().join(" ");
    let mut terminal = tokio::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("`script` is there (Debian: bsdutils)");
    until("the edge to be healthy", PATIENCE, async || up.healthy().await.then_some(())).await;
    terminal.kill().await.expect("the terminal can be closed");
    up.gone(Duration::from_secs(20)).await;
}
