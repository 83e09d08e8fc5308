//! Trades that Confluent's own serializers write and read: `e2e/functions/python/confluent.py`.

use crate::{bed::Bed, kube::root, python};
use serde_json::Value;
use std::process::{Command, Stdio};
use tidemill_schemas::Format;
use tidemill_testbed::registry;
use tokio::task::spawn_blocking;

/// Confluent's client, a Kafka and a schema registry.
#[derive(Clone, Debug)]
pub struct Confluent {
    bootstrap: String,
    /// The registry's URL.
    pub registry: String,
}

impl Confluent {
    /// Starts the registry where it does not run, and installs the client the first time.
    ///
    /// # Panics
    /// When that is not possible.
    pub async fn start(bed: &Bed) -> Self {
        let bootstrap = bed.connection.bootstrap().to_owned();
        let registry = spawn_blocking(|| {
            drop(python::with_serializers());
            registry::url(&registry::start().expect("the registry starts"))
        });
        Self { bootstrap, registry: registry.await.expect("starting does not panic") }
    }

    /// Registers the schema of a topic's values.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub async fn register(&self, topic: &str, format: Format) {
        self.run("register", topic, format, &[]).await;
    }

    /// Writes as many trades.
    ///
    /// # Panics
    /// When the broker or the registry refuses one.
    pub async fn produce(&self, topic: &str, format: Format, count: usize) {
        self.run("produce", topic, format, &[&count.to_string()]).await;
    }

    /// Reads as many trades.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn consume(&self, topic: &str, format: Format, count: usize) -> Vec<Value> {
        let lines = self.run("consume", topic, format, &[&count.to_string()]).await;
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    async fn run(&self, verb: &str, topic: &str, format: Format, more: &[&str]) -> String {
        let script = root().join("e2e/functions/python/confluent.py");
        let mut command = Command::new(python::with_serializers());
        command.arg(script).arg(verb).args([&self.bootstrap, &self.registry, topic, &format.to_string()]);
        command.args(more).stderr(Stdio::inherit());
        let output = spawn_blocking(move || command.output()).await.expect("it does not panic").expect("it runs");
        assert!(output.status.success(), "confluent.py {verb} {topic} ended with {}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}
