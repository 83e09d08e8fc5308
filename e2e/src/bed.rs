//! Topics of one test on the testbed's Kafka, with names that no other test has.

use crate::wait::{LOOK, PATIENCE};
use futures::future::try_join_all;
use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tidemill_kafka::{
    Asked, ClusterObserver, Connection, Group, TopicReader, TopicTarget, dead_letters_of, delete_topic, ensure_topics,
    rdkafka::{
        admin::{AdminOptions, AlterConfig, ResourceSpecifier},
        message::{Header, OwnedHeaders},
        producer::{FutureProducer, FutureRecord},
        util::Timeout,
    },
    topic_partitions, topic_spans,
};
use tidemill_runner::record::Record;
use tidemill_testbed::kafka::{Cluster, Size};
use tokio::task::spawn_blocking;

/// Records in flight to the broker at once.
const IN_FLIGHT: usize = 20_000;

/// One test's part of the testbed's Kafka.
#[derive(Clone, Debug)]
pub struct Bed {
    /// How to reach it.
    pub connection: Connection,
    name: String,
}

impl Bed {
    /// Starts Kafka where it does not run.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(test: &str) -> Self {
        let cluster = Cluster::new(Size::One).expect("the cache folder is known");
        Self::start_on(cluster, test).await
    }

    /// The same of another of the testbed's Kafkas.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_on(cluster: Cluster, test: &str) -> Self {
        let bootstrap = spawn_blocking(move || start_kafka(&cluster)).await.expect("starting Kafka does not panic");
        Self::on(Connection::plaintext(bootstrap), test)
    }

    /// A part of another Kafka that runs.
    ///
    /// # Panics
    /// When the clock is before 1970.
    #[must_use]
    pub fn on(connection: Connection, test: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let name = format!("e2e.{test}.{}", since.as_micros());
        Self { connection, name }
    }

    /// `name` as no other test has it.
    #[must_use]
    pub fn unique(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    /// Makes a topic and that of its dead letters, as the operator and `up` do.
    ///
    /// # Panics
    /// When the broker refuses one.
    pub async fn topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let topic = self.unique(name);
        let target = target(&topic, partitions, config);
        let letters = dead_letters_of(&target, dead_letters(&topic));
        ensure_topics(&self.connection, &[target, letters]).await.expect("topics can be made");
        topic
    }

    /// Deletes its topics: for whoever fills them with gigabytes.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn remove(self) {
        let (connection, own) = (self.connection.clone(), format!("{}.", self.name));
        let all = spawn_blocking(move || topic_partitions(&connection)).await.expect("asking does not panic");
        let all = all.expect("the broker answers");
        for topic in all.keys().filter(|name| name.contains(&own)) {
            delete_topic(&self.connection, topic).await.expect("it can be deleted");
        }
    }

    /// Makes a topic of exactly that name.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub async fn make(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        ensure_topics(&self.connection, &[target(name, partitions, config)]).await.expect("topics can be made");
    }

    /// Changes one setting of a topic.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub async fn configure(&self, topic: &str, key: &str, value: &str) {
        let admin = self.connection.admin().expect("an admin client");
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let results = admin.alter_configs([&change], &options).await.expect("the broker answers");
        results.into_iter().for_each(|result| drop(result.expect("the setting is taken")));
    }

    /// Produces the records, each to its partition, and returns when the broker has them.
    ///
    /// # Panics
    /// When one of them is refused.
    pub async fn produce(&self, topic: &str, records: &[Record]) {
        self.produce_with(&self.connection.producer().expect("a producer"), topic, records).await;
    }

    /// The same with a producer that is there already.
    ///
    /// # Panics
    /// When one of them is refused.
    pub async fn produce_with(&self, producer: &FutureProducer, topic: &str, records: &[Record]) {
        for some in records.chunks(IN_FLIGHT) {
            let sent = some.iter().map(|record| {
                let headers = record
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_deref() }));
                let mut message: FutureRecord<'_, [u8], [u8]> =
                    FutureRecord::to(topic).partition(record.partition).headers(headers);
                message.key = record.key.as_deref();
                message.payload = record.value.as_deref();
                producer.send(message, Timeout::After(PATIENCE))
            });
            try_join_all(sent).await.expect("the broker takes the records");
        }
    }

    /// Produces records at a rate, with one producer, and returns when the broker has them.
    ///
    /// # Panics
    /// When one of them is refused.
    pub async fn feed(&self, topic: &str, records: &[Record], per_second: usize) {
        let producer = self.connection.producer().expect("a producer");
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let mut sent = Vec::new();
        for some in records.chunks(per_second / 20) {
            ticks.tick().await;
            for record in some {
                let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).partition(record.partition);
                (message.key, message.payload) = (record.key.as_deref(), record.value.as_deref());
                sent.push(producer.send_result(message).map_err(|(error, _)| error).expect("it is queued"));
            }
        }
        for delivery in try_join_all(sent).await.expect("the producer lives") {
            delivery.map_err(|(error, _)| error).expect("the broker takes the record");
        }
    }

    /// Every record that the topic has now.
    ///
    /// # Panics
    /// When the broker does not give them.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (connection, topic) = (self.connection.clone(), topic.to_owned());
        spawn_blocking(move || read(&connection, &topic)).await.expect("reading does not panic")
    }

    /// Waits until the topic has that many records, and answers them.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn records_when(&self, topic: &str, count: usize) -> Vec<Record> {
        crate::wait::until(&format!("{count} records in {topic}"), PATIENCE, async || {
            let records = self.records(topic).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// Records of the topic that the group has not committed.
    ///
    /// # Panics
    /// When the broker does not tell.
    pub async fn lag(&self, group: &str, topic: &str) -> i64 {
        self.observe(group, topic, |_| true).await
    }

    /// Waits until the group has committed every record of the topic.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn drained(&self, group: &str, topic: &str) {
        self.observe(group, topic, |lag| lag == 0).await;
    }

    async fn observe(&self, group: &str, topic: &str, enough: fn(i64) -> bool) -> i64 {
        let (connection, group, topic) = (self.connection.clone(), group.to_owned(), topic.to_owned());
        let look = move || {
            let mut observer = ClusterObserver::new(&connection).expect("an observer");
            let reader = Group { id: group.clone(), topics: vec![topic.clone()] };
            let looked = [Asked { group: &reader, resting: false }];
            let started = Instant::now();
            loop {
                // A broker that has just started again may not know everything yet.
                let lag = observer.look(&looked).map_err(|error| error.to_string());
                let lag = lag.and_then(|mut found| found.remove(0).map_err(|error| error.to_string()));
                let lag = lag.map(|lag| lag.total());
                match lag {
                    Ok(lag) if enough(lag) => return lag,
                    lag => assert!(started.elapsed() < PATIENCE, "after {PATIENCE:?}, the lag of {group} is {lag:?}"),
                }
                std::thread::sleep(LOOK);
            }
        };
        spawn_blocking(look).await.expect("looking does not panic")
    }
}

fn target(name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicTarget {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    TopicTarget { name: name.to_owned(), partitions, replicas: Some(1), config: config.collect() }
}

/// The topic of a topic's dead letters.
#[must_use]
pub fn dead_letters(topic: &str) -> String {
    format!("dlq.{topic}")
}

/// Records of `size` bytes that begin with their number, spread over the partitions.
#[must_use]
pub fn numbered(count: usize, size: usize, partitions: i32) -> Vec<Record> {
    (0..count)
        .zip((0..partitions).cycle())
        .map(|(number, partition)| Record {
            partition,
            key: Some(number.to_string().into()),
            value: Some(value(number, size).into()),
            ..Record::default()
        })
        .collect()
}

/// `size` bytes of text that begin with a number and do not compress, since brokers and clients
/// measure records as they are sent.
#[must_use]
pub fn value(number: usize, size: usize) -> Vec<u8> {
    let mut state = number as u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'0' + (state >> 58) as u8
    });
    format!("{number:07} ").into_bytes().into_iter().chain(noise.filter(|byte| *byte != b'\\')).take(size).collect()
}

/// A record without key or headers, for partition 0.
#[must_use]
pub fn text(value: impl Into<String>) -> Record {
    Record { value: Some(value.into().into()), ..Record::default() }
}

fn start_kafka(cluster: &Cluster) -> String {
    // Two tests of one program may come here at once, and only one may start it.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("starting Kafka has not panicked");
    cluster.start().expect("Kafka starts");
    cluster.bootstrap()
}

/// What is committed, of each partition up to its end as it is now.
fn read(connection: &Connection, topic: &str) -> Vec<Record> {
    let spans = topic_spans(connection, topic).expect("the broker answers");
    let mut reader = TopicReader::new(connection, topic, &spans).expect("it can be read");
    let next = || reader.read().expect("the broker gives records").map(|message| Record::copy(&message));
    std::iter::from_fn(next).collect()
}
