//! A Redis of one's own, an edge in this process, and clients of both.

use futures::{SinkExt, StreamExt};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tidemill_edge::Config;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A `redis-server` that ends with the test.
pub struct Redis {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    keeps_data: bool,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// One whose data is still there after [`Redis::restart`].
    pub async fn start_durable() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(keeps_data: bool) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound").port();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = spawn(port, folder.path(), keeps_data);
        let redis = Self { child, folder, port, keeps_data };
        redis.wait().await;
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("redis-server can be killed");
        self.child.wait().expect("redis-server ends");
    }

    pub async fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path(), self.keeps_data);
        self.wait().await;
    }

    pub async fn connect(&self) -> MultiplexedConnection {
        self.try_connect().await.expect("redis answers")
    }

    async fn try_connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn wait(&self) {
        eventually("redis-server to answer", async || {
            let mut connection = self.try_connect().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }
}

fn spawn(port: u16, folder: &std::path::Path, keeps_data: bool) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", if keeps_data { "yes" } else { "no" }, "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is on the path")
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().expect("redis-server ends");
        }
    }
}

/// Writes as `docs/redis.md` says `notify` does.
pub struct Notify {
    connection: MultiplexedConnection,
    offsets: HashMap<String, u64>,
}

impl Notify {
    pub async fn new(redis: &Redis) -> Self {
        Self { connection: redis.connect().await, offsets: HashMap::new() }
    }

    /// After Redis was restarted: a new connection, offsets going on.
    pub async fn reconnect(&mut self, redis: &Redis) {
        self.connection = redis.connect().await;
    }

    /// As if Kafka was read from its beginning.
    pub fn rewind(&mut self) {
        self.offsets.clear();
    }

    pub async fn price(&mut self, symbol: &str, price: u64) {
        let pipe = self.price_entry(symbol, price);
        self.write(pipe).await;
    }

    /// All in one transaction, after which the stream holds only the newest `kept`.
    pub async fn prices_at_once(&mut self, symbol: &str, prices: impl IntoIterator<Item = u64>, kept: usize) {
        let mut all = redis::pipe();
        all.atomic();
        for price in prices {
            for command in self.price_entry(symbol, price).cmd_iter() {
                all.add_command(command.clone());
            }
        }
        all.cmd("XTRIM").arg("stream:price-ticks:0").arg("MAXLEN").arg(kept);
        self.write(all).await;
    }

    fn price_entry(&mut self, symbol: &str, price: u64) -> redis::Pipeline {
        let data = json!({
            "symbol": symbol, "price": price.to_string(), "quantity": "1", "exchange": "test",
            "timestamp": time(price),
        });
        let mut pipe = self.entry("price-ticks:0", "price", &symbol.to_lowercase(), &data);
        pipe.hset("prices:latest", symbol, data.to_string());
        pipe
    }

    pub async fn article(&mut self, partition: u8, number: u64) {
        let id = format!("a{number}");
        let data = json!({
            "articleId": id, "url": format!("https://news.example/{number}"), "title": format!("Title {number}"),
            "body": "Text", "source": "example", "publishedAt": time(number), "symbols": ["BTCUSDT"],
            "sentiment": {"label": "bullish", "score": 0.9}, "entities": [],
        });
        let mut pipe = self.entry(&format!("enriched-articles:{partition}"), "article", "articles", &data);
        pipe.zadd("articles:byTime", &id, number).set(format!("article:{id}"), data.to_string());
        self.write(pipe).await;
    }

    pub async fn candle(&mut self, symbol: &str, time: u64, close: f64) {
        self.candle_of(&format!("{symbol}:1m"), symbol, time, close).await;
    }

    /// A candle in a channel that may name its exchange.
    pub async fn candle_of(&mut self, channel: &str, symbol: &str, time: u64, close: f64) {
        let data = json!({
            "symbol": symbol, "interval": "1m", "time": time,
            "open": 1.0, "high": 9.0, "low": 0.5, "close": close, "volume": 3.0,
        });
        let key = format!("candles:{channel}");
        let mut pipe = self.entry("market-data.crypto.candles:0", "candle", channel, &data);
        pipe.zadd(&key, time, time).hset(format!("{key}:data"), time, data.to_string());
        self.write(pipe).await;
    }

    /// An entry that no reader can understand.
    pub async fn nonsense(&mut self) {
        let pipe = self.entry("price-ticks:0", "price", "btcusdt", &json!({"price": 1}));
        self.write(pipe).await;
    }

    /// As when a topic was deleted and created again.
    pub async fn begin_anew(&mut self, stream: &str) {
        self.offsets.remove(stream);
        let mut pipe = redis::pipe();
        pipe.atomic().del(format!("stream:{stream}")).del("edge:epoch");
        self.write(pipe).await;
    }

    pub async fn flush(&mut self) {
        redis::cmd("FLUSHALL").query_async::<()>(&mut self.connection).await.expect("FLUSHALL succeeds");
    }

    fn entry(&mut self, stream: &str, kind: &str, channel: &str, data: &Value) -> redis::Pipeline {
        let offset = self.offsets.entry(stream.to_owned()).or_default();
        *offset += 1;
        let key = format!("stream:{stream}");
        let mut pipe = redis::pipe();
        pipe.atomic().sadd("streams", &key);
        let fields = [("kind", kind), ("channel", channel), ("data", &data.to_string())];
        pipe.xadd(&key, format!("{offset}-1"), &fields);
        pipe
    }

    async fn write(&mut self, pipe: redis::Pipeline) {
        pipe.query_async::<()>(&mut self.connection).await.expect("notify can write");
    }
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).expect("in range");
    chrono::DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("in range").to_rfc3339()
}

/// An edge in this process.
pub struct Edge {
    pub addr: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), tidemill_edge::Error>>,
}

impl Edge {
    /// With the default settings, once it is ready.
    pub async fn start(redis: &Redis) -> Self {
        Self::start_with(redis, |_| ()).await
    }

    pub async fn start_with(redis: &Redis, change: impl FnOnce(&mut Config)) -> Self {
        let edge = Self::start_unready(redis, change).await;
        eventually("the edge to be ready", async || (edge.get("/ready").await.0 == 200).then_some(())).await;
        edge
    }

    pub async fn start_unready(redis: &Redis, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(redis.url().parse().expect("a URL"));
        config.addr = SocketAddr::from(([127, 0, 0, 1], 0));
        change(&mut config);
        let listener = config.bind().await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(tidemill_edge::serve(config, listener, shutdown.clone()));
        Self { addr, shutdown, served }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.served).await.expect("the edge ends").expect("no panic").expect("no failure");
    }

    /// Asks to stop, without waiting.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("http://{}{path}", self.addr)).await.expect("the edge answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn connect(&self, path: &str) -> Socket {
        let stream = TcpStream::connect(self.addr).await.expect("the edge accepts");
        self.connect_on(stream, path).await
    }

    pub async fn connect_on(&self, stream: TcpStream, path: &str) -> Socket {
        let uri = format!("ws://{}{path}", self.addr);
        let builder = ClientBuilder::new().uri(&uri).expect("a URI");
        let (stream, _) = builder.connect_on(stream).await.expect("the edge upgrades");
        Socket(stream)
    }

    /// A socket that listens to a symbol, or to `*`.
    pub async fn prices(&self, channel: &str) -> Socket {
        let mut socket = self.connect("/ws/prices").await;
        socket.send(&json!({"type": "subscribe", "channel": channel})).await;
        socket
    }
}

/// A WebSocket client.
pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    pub async fn send(&mut self, message: &Value) {
        self.send_text(message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.expect("the socket takes it");
    }

    pub async fn next_raw(&mut self) -> Message {
        let message = timeout(PATIENCE, self.0.next()).await.expect("a message in time");
        message.expect("the socket is open").expect("the socket works")
    }

    pub async fn next(&mut self) -> Value {
        let message = self.next_raw().await;
        serde_json::from_str(message.as_text().expect("a text message")).expect("JSON")
    }

    /// Reads until a message of that type, and answers it with those before.
    pub async fn until(&mut self, kind: &str) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let message = self.next().await;
            if message["type"] == kind {
                return (before, message);
            }
            before.push(message);
        }
    }

    /// Reads to the close frame: its code, and the messages before it.
    pub async fn closed(&mut self) -> (u16, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let message = self.next_raw().await;
            if let Some((code, _)) = message.as_close() {
                return (code.into(), before);
            }
            if let Some(text) = message.as_text() {
                before.push(serde_json::from_str(text).expect("JSON"));
            }
        }
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.0.next()).await.is_err()
    }
}

/// Asks until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
