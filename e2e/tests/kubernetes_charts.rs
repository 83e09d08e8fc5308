//! The charts: installed, tested, upgraded, rolled back and removed as a user does it, and the
//! market pipeline from a trade to a socket. One test: there is one operator to install.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tidemill_e2e::{
    bed::{Bed, numbered},
    kube::{Kube, OPERATOR, PATIENCE, echo, helm, install, kafka_cluster, kubectl, ready, root},
    wait::until,
};
use tidemill_testbed::{
    kafka::{Cluster as Kafka, Size},
    programs, redis, s3,
};
use tokio_websockets::ClientBuilder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_install_upgrade_roll_back_and_leave_what_they_promise() {
    let bed = Bed::start("charts").await;
    let cluster = tokio::task::spawn_blocking(ready).await.expect("no panic");
    let chart = |name: &str| root().join("charts").join(name).display().to_string();
    for name in ["tidemill-crds", "tidemill", "market"] {
        helm(&cluster, &["lint", "--strict", &chart(name)]).expect("the chart has no fault");
    }
    for release in ["tidemill", "tidemill-crds"] {
        helm(&cluster, &["uninstall", release, "-n", OPERATOR, "--ignore-not-found", "--wait"]).expect("it can go");
    }

    // From nothing to the first processed record.
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    bed.produce(&input, &numbered(1, 100, 1)).await;
    let since = Instant::now();
    install(&cluster);
    let namespace = bed.unique("first").replace('.', "-");
    kubectl(&cluster, &["create", "namespace", &namespace]).expect("a namespace");
    let manifests = format!("{}---\n{}", kafka_cluster("main"), echo("first", &input, &output, ""));
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, manifests).expect("a file");
    kubectl(&cluster, &["apply", "-n", &namespace, "-f", &file.path().display().to_string()]).expect("it is accepted");
    bed.records_when(&output, 1).await;
    let took = since.elapsed();
    println!("from helm install to the first processed record: {:.1} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(20), "{took:?}");

    // What a dry run on the server says of every template.
    for name in ["tidemill", "market"] {
        let arguments = ["template", name, &chart(name), "-n", OPERATOR, "--validate", "--set", "kafka.replicas=1"];
        let most = if name == "tidemill" { 6 } else { arguments.len() };
        let text = helm(&cluster, &arguments[..most]).expect("the templates can be filled in");
        std::fs::write(&file, text).expect("a file");
        let path = file.path().display().to_string();
        kubectl(&cluster, &["apply", "-n", OPERATOR, "--dry-run=server", "-f", &path]).expect("the server takes all");
    }
    helm(&cluster, &["test", "tidemill", "-n", OPERATOR, "--timeout", "60s"]).expect("the chart's own test");

    // Upgrade, roll back; a value that makes no sense is refused before anything changes.
    let upgrade = |value: &str| {
        let chart = chart("tidemill");
        helm(&cluster, &["upgrade", "tidemill", &chart, "-n", OPERATOR, "--wait", "--timeout", "60s", "--set", value])
    };
    let refused = upgrade("operator.replicas=none").expect_err("the schema refuses it");
    assert!(refused.contains("operator") && refused.contains("replicas"), "{refused}");
    upgrade("logLevel=debug").expect("an upgrade");
    helm(&cluster, &["rollback", "tidemill", "-n", OPERATOR, "--wait", "--timeout", "60s"]).expect("a rollback");
    let level = "-o=jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"LOG_LEVEL\")].value}";
    let level = kubectl(&cluster, &["-n", OPERATOR, "get", "deployment", "tidemill-operator", level]);
    assert_eq!(level.as_deref(), Ok("info"));

    // `kubectl explain` knows every field.
    let explained = kubectl(&cluster, &["explain", "function.spec.trigger.kafka", "--recursive=false"]).expect("text");
    assert!(!explained.contains("<no description>"), "{explained}");

    // Without operator and CRD release, functions are still there and run.
    for release in ["tidemill", "tidemill-crds"] {
        helm(&cluster, &["uninstall", release, "-n", OPERATOR, "--wait"]).expect("it can go");
    }
    let left = kubectl(&cluster, &["-n", &namespace, "get", "functions,deployments", "-o", "name"]).expect("text");
    assert!(left.contains("function.tidemill.dev/first") && left.contains("deployment.apps/first"), "{left}");
    install(&cluster);
    kubectl(&cluster, &["delete", "namespace", &namespace, "--wait=false"]).expect("a namespace");
    market().await;
}

/// Trades and pages flow through the chart's functions into a socket.
async fn market() {
    // Its topics and groups have the names that `up` gives them on the Kafka of everybody.
    let kafka = Kafka::new(Size::Spare).expect("the testbed's Kafka");
    let servers = kafka.bootstrap_for_pods();
    let kube = Kube::bare_on(kafka, "market").await;
    let (redis, s3) = tokio::task::spawn_blocking(|| (redis::start().expect("Redis"), s3::start().expect("S3")))
        .await
        .expect("no panic");
    std::fs::create_dir_all(s3.folder().join("objects/articles")).expect("a bucket");
    let at = |port: u16| kube.cluster.address_for_pods(port);
    let redis_url = format!("redis://{}/", at(redis.address.port()));
    let site = Served::start("news-site", &["--addr", "127.0.0.1:28099"]);
    let keys = ["--from-literal=AWS_ACCESS_KEY_ID=tidemill", "--from-literal=AWS_SECRET_ACCESS_KEY=tidemill-local"];
    kube.run(&[&["create", "secret", "generic", "s3"], &keys[..]].concat());
    let values = json!({
        "kafka": {"bootstrapServers": [servers]},
        "redis": {"url": redis_url},
        "s3": {"endpoint": format!("http://{}", at(s3.address.port())), "secret": "s3"},
        "crawl": {"cron": "* * * * *", "sources": [{
            "name": "harbour-ledger", "baseUrl": format!("http://{}", at(28_099)), "article": "h2.headline a",
            "start": ["/", "/section/crypto", "/section/markets"], "delayMs": 0
        }]},
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, values.to_string()).expect("a file");
    let chart = root().join("charts/market").display().to_string();
    let path = file.path().display().to_string();
    helm(kube.cluster, &["install", "market", &chart, "-n", &kube.namespace, "-f", &path]).expect("the chart");
    let edge = ["upgrade", "tidemill", "-n", OPERATOR, "--wait", "--timeout", "60s", "--set", "edge.enabled=true"];
    let redis_value = format!("edge.redisUrl={redis_url}");
    let chart = root().join("charts/tidemill").display().to_string();
    helm(kube.cluster, &[&edge[..], &["--set", &redis_value, &chart]].concat()).expect("the edge");
    for function in ["crawl", "normalize", "nlp", "aggregate", "notify"] {
        kube.condition("fn", function, "Ready", "True").await;
    }
    let address =
        kubectl(kube.cluster, &["-n", OPERATOR, "get", "service", "tidemill-edge", "-o=jsonpath={.spec.clusterIP}"]);
    let address = address.expect("the edge's Service");
    let url = format!("ws://{address}/ws/prices");
    let (mut socket, _) = ClientBuilder::new().uri(&url).expect("an address").connect().await.expect("a socket");
    let subscribe = json!({"type": "subscribe", "channel": "btcusdt"}).to_string();
    socket.send(tokio_websockets::Message::text(subscribe)).await.expect("it is sent");
    let bootstrap = kube.bed.connection.bootstrap().to_owned();
    let _ticks = Served::start("ticks", &["--bootstrap", &bootstrap, "--topic", "price-ticks", "--rate", "50"]);
    let since = Instant::now();
    let price = tokio::time::timeout(PATIENCE, async {
        loop {
            let message = socket.next().await.expect("the socket is open").expect("a message");
            let Some(Ok(value)) = message.as_text().map(serde_json::from_str::<Value>) else { continue };
            let data = if value["price"].is_null() { value["data"].clone() } else { value };
            if !data["price"].is_null() {
                return data;
            }
        }
    });
    let price = price.await.expect("a price reaches the socket");
    println!("the first price reached a socket {:.1} s after the feed began: {price}", since.elapsed().as_secs_f64());
    let articles = format!("http://{address}/api/articles");
    let first = until("an article at the edge", PATIENCE, async || {
        let page: Value = reqwest::get(&articles).await.ok()?.json().await.ok()?;
        let text = page.to_string();
        text.contains("\"title\"").then_some(text)
    })
    .await;
    println!("articles at the edge: {} bytes", first.len());
    drop(site);
}

/// A program of the demo, ended with the test.
struct Served(Child);

impl Served {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let program = programs::own(name).expect("it is built");
        let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("it starts"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
