//! Everything that the faults meet: brokers, the network, Redis, S3, the groups at work, what goes
//! in and what comes out.

use super::{
    brokers::Brokers,
    clock::Clock,
    feed::Feed,
    groups::{Group, Mode, Surroundings},
    network::Network,
    outlets::{self, Outlets},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_testbed::{daemon::Daemon, redis, s3};
use tokio::time::sleep;

/// Partitions of the input, and of what comes out.
pub const PARTITIONS: i32 = 4;
/// How often is looked whether a runner has ended or all has come out.
pub const LOOK: Duration = Duration::from_millis(250);
/// The brokers' clock says when a record came out, whatever a runner's says.
const OUTPUT: [(&str, &str); 1] = [("message.timestamp.type", "LogAppendTime")];

/// The stage. What it has started ends with it.
pub struct Stage {
    // In this order they end: who works before what is worked with.
    /// What goes in.
    pub feed: Option<Feed>,
    /// The groups at work.
    pub groups: Vec<Group>,
    /// What comes out.
    pub outlets: Outlets,
    /// The network of second runners.
    pub network: Network,
    /// A clock for runners.
    pub clock: Clock,
    /// Redis, with its data on disk before it answers.
    pub redis: Away,
    /// S3.
    pub s3: Away,
    /// Kafka.
    pub brokers: Arc<Brokers>,
    /// The input.
    pub input: String,
}

/// A service of the suite's own, which may be away.
pub struct Away {
    /// Its process.
    pub daemon: Daemon,
    start: fn(&Daemon) -> anyhow::Result<()>,
}

impl Away {
    fn new(name: &str, port: u16, start: fn(&Daemon) -> anyhow::Result<()>) -> Self {
        let daemon = Daemon::new(name, port).expect("the cache folder is known");
        daemon.remove().expect("what was left is removed");
        let away = Self { daemon, start };
        away.start();
        away
    }

    /// Starts it, with the data it has.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self) {
        (self.start)(&self.daemon).expect("the service starts");
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.remove() {
            eprintln!("a service's folder is left: {error:#}");
        }
    }
}

impl Stage {
    /// Sets everything up, and lets records flow at a rate.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn set(per_second: u64) -> Self {
        let brokers = Arc::new(Brokers::start().await);
        let redis = Away::new("faults-redis", 26_479, |daemon| redis::serve(daemon, &["--appendfsync", "always"]));
        let s3 = Away::new("faults-s3", 29_050, s3::serve);
        let bucket = s3.daemon.folder().join("objects");
        std::fs::create_dir_all(bucket.join(super::groups::BUCKET)).expect("a bucket");
        let input = brokers.bed.unique("ticks");
        brokers.topic(&input, PARTITIONS, &[]).await;
        for topic in outlets::topics(&brokers.bed).keys() {
            brokers.topic(topic, PARTITIONS, &OUTPUT).await;
        }
        let network = Network::new(&brokers.cluster.bootstrap_for_pods());
        let surroundings = Surroundings {
            network: &network,
            bootstrap: brokers.cluster.bootstrap_for_pods(),
            redis: format!("redis://{}/", redis.daemon.address),
            s3: format!("http://{}", s3.daemon.address),
        };
        let outlets = Outlets::start(&brokers.bed, &input, PARTITIONS, &surroundings.redis, &bucket);
        let groups = Mode::ALL.map(|mode| Group::start(mode, &brokers.bed, &input, &surroundings)).into();
        let feed = Some(Feed::start(&brokers.bed.connection, &input, per_second));
        Self { feed, groups, outlets, network, clock: Clock::new(), redis, s3, brokers, input }
    }

    /// Starts runners again that have ended by themselves.
    pub fn tend(&mut self) {
        self.groups.iter_mut().for_each(Group::tend);
    }

    /// Lets time pass; runners that end by themselves are started again meanwhile.
    pub async fn pass(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.tend();
            sleep(LOOK.min(time.saturating_sub(begun.elapsed()))).await;
        }
    }

    /// Waits; runners that end by themselves are started again meanwhile.
    pub async fn beside<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                result = &mut what => return result,
                () = self.pass(LOOK) => {}
            }
        }
    }

    /// What was acknowledged so far.
    ///
    /// # Panics
    /// When nothing goes in any more.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeSet<u64> {
        self.feed.as_ref().expect("records go in").sent.lock().acknowledged.clone()
    }

    /// Waits until something is seen, for as long; answers whether it was.
    pub async fn sees(&mut self, patience: Duration, seen: impl Fn(&Self) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            if seen(self) {
                return true;
            }
            if begun.elapsed() > patience {
                return false;
            }
            self.pass(LOOK).await;
        }
    }

    /// Waits until each group has given back all of these, for as long; answers whether they have.
    pub async fn all_out(&mut self, acknowledged: &BTreeSet<u64>, patience: Duration) -> bool {
        let missing = |came: &outlets::Came| came.outcomes.iter().any(|(_, out)| out.missing(acknowledged) > 0);
        self.sees(patience, |stage| !missing(&stage.outlets.came.lock())).await
    }

    /// Has every append of any of the topics written to disk at once, or not.
    pub async fn flush_each(&self, each: bool) {
        let outputs = outlets::topics(&self.brokers.bed);
        let outputs = outputs.keys().map(|topic| (topic.as_str(), BTreeMap::from(OUTPUT)));
        let topics: Vec<_> = outputs.chain([(self.input.as_str(), BTreeMap::new())]).collect();
        self.brokers.flush_each(&topics, each).await;
    }
}
