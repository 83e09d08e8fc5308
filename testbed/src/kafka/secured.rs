//! One Kafka broker that lets nobody in who does not say who they are, or does not speak TLS: a
//! listener for each way that a `KafkaCluster` may be reached.
//!
//! Its authority is made when its folder is formatted. The broker keeps nothing of a client but its
//! name: no access lists, so who comes in may do everything.

use super::{PASSWORD, USER, format, install, serve};
use crate::{
    authority::{Authority, private},
    daemon::Daemon,
};
use anyhow::{Context, Result};
use std::fs;

/// The mechanisms that [`USER`] is known under at [`Listener::SaslTls`], besides `PLAIN`.
pub const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// `SASL_PLAINTEXT`, mechanism `PLAIN` alone.
    SaslPlaintext,
    /// `SASL_SSL`, mechanisms `PLAIN` and those of [`SCRAM`].
    SaslTls,
    /// `SSL`: the broker has a certificate, clients need none.
    Tls,
    /// `SSL`: clients need a certificate of the same authority.
    Mutual,
}

/// The broker.
#[derive(Clone, Debug)]
pub struct Secured(Daemon);

impl Listener {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SaslPlaintext, Self::SaslTls, Self::Tls, Self::Mutual];

    /// Its name in the broker's settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_TLS",
            Self::Tls => "TLS",
            Self::Mutual => "MUTUAL",
        }
    }

    const fn protocol(self) -> &'static str {
        match self {
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
            Self::Tls | Self::Mutual => "SSL",
        }
    }
}

impl Secured {
    /// The broker, whether it runs or not; ports 29492 to 29496.
    ///
    /// # Errors
    /// When the cache folder is unknown.
    pub fn new() -> Result<Self> {
        Daemon::new("kafka-secured", 29_492).map(Self)
    }

    /// The broker, to stop it or to forget its data.
    #[must_use]
    pub const fn broker(&self) -> &Daemon {
        &self.0
    }

    /// `host:port` of a listener.
    #[must_use]
    pub fn bootstrap(&self, listener: Listener) -> String {
        // The next port is the controller's.
        let port = self.0.address.port()
            + match listener {
                Listener::SaslPlaintext => 0,
                Listener::SaslTls => 2,
                Listener::Tls => 3,
                Listener::Mutual => 4,
            };
        format!("{}:{port}", self.0.address.ip())
    }

    /// A PEM text of its folder: `ca.crt`, `client.crt` or `client.key`; or `stranger.crt`, an
    /// authority that has signed nothing here.
    ///
    /// # Errors
    /// When it was never started.
    pub fn pem(&self, name: &str) -> Result<String> {
        let path = self.0.folder().join(name);
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Starts it, where it does not run.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn start(&self) -> Result<()> {
        if self.0.pid().is_some() {
            return Ok(());
        }
        let jars = install()?;
        let config = self.0.folder().join("server.properties");
        if !self.0.folder().join("data/meta.properties").is_file() {
            fs::create_dir_all(self.0.folder())?;
            self.certify()?;
            private(&config, &self.properties())?;
            format(&jars, &config, &SCRAM)?;
        }
        serve(&self.0, &jars, &config)
    }

    fn certify(&self) -> Result<()> {
        let folder = self.0.folder();
        let authority = Authority::new("tidemill-testbed-kafka")?;
        fs::write(folder.join("ca.crt"), &authority.certificate)?;
        fs::write(folder.join("stranger.crt"), Authority::new("stranger")?.certificate)?;
        let broker = authority.sign("", "broker", ["localhost".to_owned(), self.0.address.ip().to_string()])?;
        // Kafka takes a key and its certificate from one file.
        private(&folder.join("broker.pem"), &format!("{}{}", broker.key, broker.certificate))?;
        let client = authority.sign("", USER, [])?;
        fs::write(folder.join("client.crt"), &client.certificate)?;
        private(&folder.join("client.key"), &client.key)
    }

    fn properties(&self) -> String {
        let folder = self.0.folder();
        let controller = format!("{}:{}", self.0.address.ip(), self.0.address.port() + 1);
        let listeners = Listener::ALL.map(|listener| format!("{}://{}", listener.name(), self.bootstrap(listener)));
        let protocols = Listener::ALL.map(|listener| format!("{}:{}", listener.name(), listener.protocol()));
        let modules = "org.apache.kafka.common.security";
        let plain = ["sasl_plaintext", "sasl_tls"].map(|listener| {
            let known = format!("user_{USER}=\"{PASSWORD}\"");
            format!(
                "listener.name.{listener}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required {known};"
            )
        });
        let scram = SCRAM.map(|mechanism| {
            let listener = format!("listener.name.sasl_tls.{}", mechanism.to_lowercase());
            format!("{listener}.sasl.jaas.config={modules}.scram.ScramLoginModule required;")
        });
        let settings = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@{controller}"),
            format!("listeners={},CONTROLLER://{controller}", listeners.join(",")),
            format!("advertised.listeners={}", listeners.join(",")),
            "controller.listener.names=CONTROLLER".to_owned(),
            // The broker is a client of its own where it ends transactions.
            format!("inter.broker.listener.name={}", Listener::Mutual.name()),
            format!("listener.security.protocol.map=CONTROLLER:PLAINTEXT,{}", protocols.join(",")),
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN".to_owned(),
            format!("listener.name.sasl_tls.sasl.enabled.mechanisms=PLAIN,{}", SCRAM.join(",")),
            "listener.name.mutual.ssl.client.auth=required".to_owned(),
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={}", folder.join("broker.pem").display()),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", folder.join("ca.crt").display()),
            format!("log.dirs={}", folder.join("data").display()),
            "default.replication.factor=1".to_owned(),
            "min.insync.replicas=1".to_owned(),
            "offsets.topic.replication.factor=1".to_owned(),
            "offsets.topic.num.partitions=3".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "transaction.state.log.num.partitions=3".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "group.consumer.min.session.timeout.ms=6000".to_owned(),
            "group.consumer.session.timeout.ms=10000".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
        ];
        settings.into_iter().chain(plain).chain(scram).map(|setting| setting + "\n").collect()
    }
}
