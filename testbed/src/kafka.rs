//! Apache Kafka 4.1 in KRaft mode: one broker, three that replicate, one to do harm to, one that knows
//! groups only as brokers did before KIP-848, or one that is [`secured`].

pub mod secured;

use crate::{cache, daemon::Daemon, kubernetes, programs::run};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const POM: &str = include_str!("../kafka/pom.xml");
/// How long a broker may take to listen, also where compilers have the machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How the listener for users asks who comes.
pub const MECHANISM: &str = "SCRAM-SHA-512";
/// The user that it knows.
pub const USER: &str = "ann";
/// That user's password.
pub const PASSWORD: &str = "a-password-of-the-testbed";

/// A cluster of brokers.
#[derive(Clone, Debug)]
pub struct Cluster {
    size: Size,
    brokers: Vec<Daemon>,
}

/// How many brokers, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Size {
    /// One broker, port 29092.
    One,
    /// Three brokers, ports 29192, 29292 and 29392: replication 3, min ISR 2.
    Three,
    /// One broker that nobody else needs, port 29592: a test may take it away.
    Spare,
    /// One broker whose groups have only the classic protocol, port 29692.
    Classic,
}

impl Cluster {
    /// The cluster of that size, whether it runs or not.
    ///
    /// # Errors
    /// When the cache folder is unknown.
    pub fn new(size: Size) -> Result<Self> {
        let ports: &[u16] = match size {
            Size::One => &[29_092],
            Size::Three => &[29_192, 29_292, 29_392],
            Size::Spare => &[29_592],
            Size::Classic => &[29_692],
        };
        let brokers = ports.iter().map(|port| Daemon::new(&format!("kafka-{port}"), *port));
        Ok(Self { size, brokers: brokers.collect::<Result<_>>()? })
    }

    /// `host:port,…` for clients.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|broker| broker.address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// `host:port,…` for pods of the testbed's Kubernetes.
    #[must_use]
    pub fn bootstrap_for_pods(&self) -> String {
        let addresses = self.brokers.iter().map(|broker| kubernetes::address_for_pods(pods_port(broker)));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// `host:port,…` for pods of the testbed's Kubernetes, where only [`USER`] is let in.
    #[must_use]
    pub fn bootstrap_for_users(&self) -> String {
        let addresses = self.brokers.iter().map(|broker| kubernetes::address_for_pods(users_port(broker)));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The brokers, to stop, freeze or kill one.
    #[must_use]
    pub fn brokers(&self) -> &[Daemon] {
        &self.brokers
    }

    /// Starts the brokers that do not run, installing Kafka first where it is missing.
    ///
    /// # Errors
    /// When it cannot be installed or does not start.
    pub fn start(&self) -> Result<()> {
        let jars = install()?;
        let missing: Vec<_> = self.brokers.iter().enumerate().filter(|(_, broker)| broker.pid().is_none()).collect();
        std::thread::scope(|scope| {
            let jars = &jars;
            let starts: Vec<_> = missing
                .iter()
                .map(|(index, broker)| scope.spawn(move || self.start_broker(*index, broker, jars)))
                .collect();
            starts.into_iter().try_for_each(|start| start.join().expect("starting a broker does not panic"))
        })
    }

    /// Starts one broker again, with the data it has.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_one(&self, index: usize) -> Result<()> {
        self.start_broker(index, &self.brokers[index], &install()?)
    }

    /// Stops all brokers and forgets their data.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self) -> Result<()> {
        self.brokers.iter().try_for_each(Daemon::remove)
    }

    fn start_broker(&self, index: usize, broker: &Daemon, jars: &str) -> Result<()> {
        let folder = broker.folder();
        fs::create_dir_all(folder)?;
        let config = folder.join("server.properties");
        if !folder.join("data/meta.properties").is_file() {
            fs::write(&config, self.properties(index))?;
            format(jars, &config, &[MECHANISM])?;
        }
        serve(broker, jars, &config)
    }

    fn properties(&self, index: usize) -> String {
        let broker = &self.brokers[index];
        let ip = broker.address.ip();
        let controller = |broker: &Daemon| broker.address.port() + 1;
        let voters: Vec<_> =
            self.brokers.iter().enumerate().map(|(i, peer)| format!("{}@{ip}:{}", i + 1, controller(peer))).collect();
        let (replicas, in_sync) = if self.brokers.len() > 1 { (3, 2) } else { (1, 1) };
        let protocols = if self.size == Size::Classic { "classic" } else { "classic,consumer" };
        [
            "process.roles=broker,controller".to_owned(),
            format!("node.id={}", index + 1),
            format!("controller.quorum.voters={}", voters.join(",")),
            format!(
                "listeners=PLAINTEXT://{},PODS://{ip}:{},USERS://{ip}:{},CONTROLLER://{ip}:{}",
                broker.address,
                pods_port(broker),
                users_port(broker),
                controller(broker)
            ),
            // A client goes on to the address that its listener advertises, so pods need their own.
            format!(
                "advertised.listeners=PLAINTEXT://{},PODS://{},USERS://{}",
                broker.address,
                kubernetes::address_for_pods(pods_port(broker)),
                kubernetes::address_for_pods(users_port(broker))
            ),
            "controller.listener.names=CONTROLLER".to_owned(),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PODS:PLAINTEXT,USERS:SASL_PLAINTEXT"
                .to_owned(),
            format!("sasl.enabled.mechanisms={MECHANISM}"),
            format!(
                "listener.name.users.{}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
                MECHANISM.to_lowercase()
            ),
            format!("log.dirs={}", broker.folder().join("data").display()),
            format!("default.replication.factor={replicas}"),
            format!("min.insync.replicas={in_sync}"),
            format!("offsets.topic.replication.factor={replicas}"),
            "offsets.topic.num.partitions=3".to_owned(),
            format!("transaction.state.log.replication.factor={replicas}"),
            format!("transaction.state.log.min.isr={in_sync}"),
            "transaction.state.log.num.partitions=3".to_owned(),
            format!("group.coordinator.rebalance.protocols={protocols}"),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            // As docs/scaling.md advises: a member that was killed is missed after 10 s, not 45 s.
            "group.consumer.min.session.timeout.ms=6000".to_owned(),
            "group.consumer.session.timeout.ms=10000".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
            "num.partitions=6".to_owned(),
            // The gigabytes of a benchmark are gone before the next one is measured. The broker looks for such files
            // as often as this: at 0 it does nothing else, which takes 5 % of a core.
            "log.segment.delete.delay.ms=1000".to_owned(),
            String::new(),
        ]
        .join("\n")
    }
}

const fn users_port(broker: &Daemon) -> u16 {
    broker.address.port() + 8
}

const fn pods_port(broker: &Daemon) -> u16 {
    broker.address.port() + 5
}

/// Formats a broker's folder, with [`USER`] for each of the mechanisms.
fn format(jars: &str, config: &Path, mechanisms: &[&str]) -> Result<()> {
    let mut tool = java(jars, "256m", "kafka.tools.StorageTool");
    tool.args(["format", "-t", "VGlkZW1pbGxUZXN0YmVkMQ", "-c"]).arg(config);
    for mechanism in mechanisms {
        tool.arg("--add-scram").arg(format!("{mechanism}=[name={USER},password={PASSWORD}]"));
    }
    run(&mut tool).context("failed to format the broker's folder")
}

/// Starts a broker whose folder is formatted.
fn serve(broker: &Daemon, jars: &str, config: &Path) -> Result<()> {
    // As Kafka's own script starts a broker: with a smaller heap, or another collector, what is
    // measured of latency at the 99th percentile is that collector's pauses.
    let options = [
        "-Xmx1g",
        "-Xms1g",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:+ExplicitGCInvokesConcurrent",
        "-cp",
        jars,
        "kafka.Kafka",
    ];
    let arguments: Vec<_> = options.map(str::to_owned).into_iter().chain([config.display().to_string()]).collect();
    broker.start("java", &arguments, PATIENCE)
}

fn java(jars: &str, memory: &str, class: &str) -> Command {
    let mut command = Command::new("java");
    command.arg(format!("-Xmx{memory}")).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars, class]);
    command
}

/// Kafka's class path, fetched by Maven the first time.
///
/// # Errors
/// When Maven fails.
pub fn install() -> Result<String> {
    let folder: PathBuf = cache()?.join("kafka-4.1.1");
    let jars = folder.join("libs");
    if !folder.join("complete").is_file() {
        eprintln!("testbed: fetching Kafka 4.1.1 into {}", folder.display());
        fs::create_dir_all(&folder)?;
        let pom = folder.join("pom.xml");
        fs::write(&pom, POM)?;
        run(Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(&pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", jars.display())))
        .context("failed to fetch Kafka: is Maven installed (Debian: apt-get install maven)?")?;
        fs::write(folder.join("complete"), "")?;
    }
    Ok(format!("{}/*", jars.display()))
}
