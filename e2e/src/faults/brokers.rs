//! Three brokers, each also a voter of the controllers, each with its data on a [`Volume`].

use super::volume::Volume;
use crate::{bed::Bed, wait::until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{collections::BTreeMap, fs, time::Duration};
use tidemill_kafka::{
    Connection, TopicTarget, ensure_topics,
    rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier},
};
use tidemill_testbed::kafka::{Cluster, Size};
use tokio::{task::spawn_blocking, time::sleep};

/// How long the brokers may take until each has every record again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The brokers, as long as they are held.
pub struct Brokers {
    /// The cluster.
    pub cluster: Cluster,
    /// Its topics.
    pub bed: Bed,
    volumes: Vec<Volume>,
}

impl Brokers {
    /// Starts them, empty.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start() -> Self {
        let cluster = Cluster::new(Size::Three).expect("the cache folder is known");
        cluster.brokers().iter().for_each(|broker| broker.stop().expect("it can be stopped"));
        let folders = cluster.brokers().iter().map(|broker| broker.folder().join("data"));
        let volumes = folders.map(|folder| Volume::new(&folder)).collect();
        let starting = cluster.clone();
        let started = spawn_blocking(move || starting.start()).await.expect("starting does not panic");
        let bed = Bed::on(Connection::plaintext(cluster.bootstrap()), "faults");
        let brokers = Self { cluster, bed, volumes };
        started.expect("three brokers start");
        brokers
    }

    /// Makes a topic whose records are on each of the brokers, and acknowledged when two have them.
    ///
    /// # Panics
    /// When the brokers refuse it.
    pub async fn topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = config.chain([("min.insync.replicas".to_owned(), "2".to_owned())]).collect();
        let target = TopicTarget { name: name.to_owned(), partitions, replicas: Some(3), config };
        ensure_topics(&self.bed.connection, &[target]).await.expect("the topic is made");
    }

    /// Has each append to the topics written to the disk at once, or when the kernel likes.
    ///
    /// # Panics
    /// When the brokers refuse it.
    pub async fn flush_each(&self, topics: &[(&str, BTreeMap<&str, &str>)], each: bool) {
        let admin = self.bed.connection.admin().expect("an admin client");
        let changes: Vec<_> = topics
            .iter()
            .map(|(topic, config)| {
                // What is not named goes back to the brokers' default.
                let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("min.insync.replicas", "2");
                let change = config.iter().fold(change, |change, (key, value)| change.set(key, value));
                if each { change.set("flush.messages", "1") } else { change }
            })
            .collect();
        let options = AdminOptions::new().request_timeout(Some(LOOK * 10));
        // A request that a broker has lost in its fault is not answered: it is sent again.
        until("the brokers to take a setting", PATIENCE, async || {
            let results = admin.alter_configs(&changes, &options).await.ok()?;
            results.iter().all(Result::is_ok).then_some(())
        })
        .await;
    }

    /// The broker that leads a partition.
    ///
    /// # Panics
    /// When the brokers do not tell.
    pub async fn leader(&self, topic: &str, partition: usize) -> usize {
        let (connection, topic) = (self.bed.connection.clone(), topic.to_owned());
        let asked = spawn_blocking(move || {
            let metadata = connection.metadata(Some(&topic)).expect("the brokers answer");
            let partitions = metadata.topics()[0].partitions();
            partitions[partition % partitions.len()].leader()
        });
        let id = asked.await.expect("asking does not panic");
        usize::try_from(id - 1).expect("the partition has a leader")
    }

    /// The active controller: who was elected last, as the voters have written it down, and in which epoch.
    /// While they elect one, there may be none.
    #[must_use]
    pub fn controller(&self) -> Option<(u64, usize)> {
        let elected = |index: usize| {
            let file = self.cluster.brokers()[index].folder().join("data/__cluster_metadata-0/quorum-state");
            let state: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
            let leader = state["leaderId"].as_u64()?;
            Some((state["leaderEpoch"].as_u64()?, usize::try_from(leader).ok()? - 1))
        };
        (0..self.volumes.len()).filter_map(elected).max()
    }

    /// kill -9.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn kill(&self, index: usize) {
        let broker = &self.cluster.brokers()[index];
        broker.signal(Signal::SIGKILL).expect("it can be killed");
        broker.wait_until_silent();
    }

    /// Starts one again with the data it has, where it does not run.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&self, index: usize) {
        let cluster = self.cluster.clone();
        let again = move || match cluster.brokers()[index].pid() {
            Some(_) => Ok(()),
            None => cluster.start_one(index),
        };
        spawn_blocking(again).await.expect("starting does not panic").expect("the broker starts again");
    }

    /// A broker's disk.
    #[must_use]
    pub fn volume(&self, index: usize) -> &Volume {
        &self.volumes[index]
    }

    /// Whether a broker's process has ended, and nobody listens in its place.
    #[must_use]
    pub fn is_away(&self, index: usize) -> bool {
        self.pid(index).is_none() && !self.cluster.brokers()[index].listens()
    }

    /// A broker's process.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<i32> {
        self.cluster.brokers()[index].pid()
    }

    /// Waits until each broker has every record: only then may another one fail.
    ///
    /// # Panics
    /// When they do not in time.
    pub async fn in_sync(&self) {
        until("each broker to have every record", PATIENCE, async || {
            // Each look is a client of its own.
            sleep(LOOK).await;
            let connection = self.bed.connection.clone();
            let metadata = spawn_blocking(move || connection.metadata(None)).await.expect("asking does not panic");
            let metadata = metadata.ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.all(|partition| partition.isr().len() == 3).then_some(())
        })
        .await;
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for index in 0..self.volumes.len() {
            self.volumes[index].fast();
            self.kill(index);
        }
        self.volumes.clear();
        if let Err(error) = self.cluster.remove() {
            eprintln!("the brokers' folders are left: {error:#}");
        }
    }
}
