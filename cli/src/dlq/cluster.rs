//! Which Kafka is asked, and who comes.

use anyhow::Result;
use clap::Args;
use tidemill_kafka::Connection;
use tidemill_runner::config::{Access, Login};

/// The variables that hold secrets begin with this: a command line is everybody's to read.
const PREFIX: &str = "KAFKA_";

/// Which Kafka is asked, and who comes.
#[derive(Args, Debug)]
pub struct Cluster {
    /// Bootstrap servers; by default the broker of `tidemill up`
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "HOST:PORT,…", default_value = "127.0.0.1:9292")]
    kafka: String,
    /// How brokers are told who comes; the password is read from KAFKA_PASSWORD
    #[arg(
        long,
        env = "KAFKA_SASL_MECHANISM",
        value_parser = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        requires = "username"
    )]
    sasl_mechanism: Option<String>,
    /// Who comes
    #[arg(long, env = "KAFKA_USERNAME", value_name = "NAME", requires = "sasl_mechanism")]
    username: Option<String>,
    /// Speak TLS; KAFKA_CA, KAFKA_CERTIFICATE and KAFKA_KEY may hold PEM texts
    #[arg(long)]
    tls: bool,
}

impl Cluster {
    /// Bootstrap servers.
    pub fn bootstrap(&self) -> &str {
        &self.kafka
    }

    /// The way there.
    ///
    /// # Errors
    /// When the password is not there.
    pub fn connection(&self) -> Result<Connection> {
        let login = |(mechanism, username): (&String, &String)| Login {
            mechanism: mechanism.clone(),
            username: username.clone(),
        };
        let sasl = self.sasl_mechanism.as_ref().zip(self.username.as_ref()).map(login);
        Ok(Access { sasl, tls: self.tls, ..Access::default() }.connect(&self.kafka, PREFIX)?)
    }
}
