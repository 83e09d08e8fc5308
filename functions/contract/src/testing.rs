//! What the functions' tests share: a redis-server of their own and Kafka events. A test that
//! cannot start the server fails; nothing is skipped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lambda_events::kafka::KafkaEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::aio::ConnectionManager;
use serde_json::{Value, json};

/// A redis-server on a free port that keeps nothing on disk and ends with this value.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub async fn start() -> Self {
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed and on the PATH");
        let server = Self { child, port };
        for _ in 0..200 {
            let mut connection = server.connect();
            let ping = redis::cmd("PING").query_async::<String>(&mut connection).await;
            if ping.is_ok() {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("redis-server on port {port} does not answer");
    }

    /// A new connection.
    pub fn connect(&self) -> ConnectionManager {
        crate::redis::connect(&self.url()).expect("a good URL")
    }

    /// The server's address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.child.kill().expect("the server is our child");
        self.child.wait().expect("the server is our child");
    }
}

/// A port that nothing listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket").port()
}

/// The timestamp of records whose test has no other, in unix milliseconds.
pub const TIME: i64 = 1_767_225_600_000;

/// A Kafka event of one partition, its offsets from `first` on; `None` is a null value.
pub fn kafka_event(topic: &str, partition: i64, first: i64, values: &[Option<&str>]) -> KafkaEvent {
    kafka_event_at(TIME, topic, partition, first, values)
}

/// A Kafka event whose records all have the timestamp `time`, in unix milliseconds.
pub fn kafka_event_at(time: i64, topic: &str, partition: i64, first: i64, values: &[Option<&str>]) -> KafkaEvent {
    let records: Vec<Value> = (first..)
        .zip(values)
        .map(|(offset, value)| {
            json!({"topic": topic, "partition": partition, "offset": offset,
                "timestamp": time, "timestampType": "CREATE_TIME", "key": null,
                "value": value.map(|value| STANDARD.encode(value)), "headers": []})
        })
        .collect();
    let mut event = json!({"eventSource": "SelfManagedKafka", "bootstrapServers": "kafka:9092"});
    event["records"][format!("{topic}-{partition}")] = Value::Array(records);
    serde_json::from_value(event).expect("a Kafka event")
}
