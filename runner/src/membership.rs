//! How a runner is a member of its consumer group.
//!
//! Where the broker has it, by KIP-848: the coordinator assigns partitions, only those that move
//! are given up, and a member that takes long to give one up holds up nobody else. There a member
//! learns of a change with its next heartbeat, which brokers want every five seconds at first;
//! librdkafka heartbeats at once when it subscribes anew, and that is how ours come sooner: a group
//! settles in a fraction of a second. Elsewhere rebalancing is cooperative-sticky.

use crate::consumer::Consumer;
use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tidemill_api::plan::KafkaPlan;
use tidemill_kafka::{Connection, member_epoch};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Between two heartbeats of a member that has partitions: so long at most they stay with it when
/// another should have them.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Between two heartbeats of a member that has none yet.
const EAGER: Duration = Duration::from_millis(100);
/// How long a member without partitions is eager: later there may be none left for it.
const EAGER_FOR: Duration = Duration::from_secs(15);

/// How long a member without partitions says nothing after the coordinator told it something: by then it has those that
/// it was told to have.
///
/// Until it has had any, each heartbeat says that it has none. One that it sends between hearing of its partitions and
/// having them gives them back, for all that the coordinator knows, and others get them while librdkafka (2.12) takes
/// them all the same.
const HEARD: Duration = Duration::from_millis(300);
/// How long a member says nothing that has not been told an epoch: a heartbeat would wait for the first answer, and be
/// sent right after it. Where none has come by then, librdkafka may have stopped asking.
const JOINING: Duration = Duration::from_secs(15);
/// How long a member may have neither partitions nor an epoch while brokers answer.
const UNHEARD: Duration = Duration::from_secs(60);
/// How long it is waited for what a broker says of a topic.
const KNOW: Duration = Duration::from_secs(5);

/// How partitions are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// KIP-848: by the coordinator.
    Consumer,
    /// By one of the members.
    Classic,
}

/// The settings of a member.
#[must_use]
pub fn config(connection: &Connection, plan: &KafkaPlan, drain: Duration, protocol: Protocol) -> ClientConfig {
    // A callback that waits for partitions to drain does not poll meanwhile.
    let poll = (drain + Duration::from_secs(60)).max(Duration::from_secs(300));
    let mut config = connection.client_config();
    config
        .set("group.id", &plan.group)
        // Whatever `start` says: where a group begins was committed before.
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        // See `commits`.
        .set("enable.auto.commit", "false")
        .set("max.poll.interval.ms", poll.as_millis().to_string())
        .set("fetch.wait.max.ms", connection.fetch_wait().as_millis().to_string())
        // A queue that was full is asked again soon: by default it would rest for a second. What takes a thousand
        // records of a partition in 5 ms has them again in time; where a queue stays full it is 1 % of a core.
        .set("fetch.queue.backoff.ms", "2")
        // What waits in the client costs memory for each partition: as much as keeps the function
        // busy until the next fetch, and no more. A record larger than this is fetched alone.
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "1024")
        .set("fetch.message.max.bytes", "98304")
        .set("topic.metadata.refresh.interval.ms", "10000");
    match protocol {
        // With that, librdkafka logs what each broker supports: see `says_unknown`.
        Protocol::Consumer => {
            config.set("group.protocol", "consumer").set("debug", "feature").set_log_level(RDKafkaLogLevel::Debug)
        }
        Protocol::Classic => config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", HEARTBEAT.as_millis().to_string()),
    };
    config
}

/// Whether that says that the broker has KIP-848 switched off.
#[must_use]
pub fn is_unknown(error: &KafkaError) -> bool {
    match error {
        KafkaError::MessageConsumptionFatal(code) | KafkaError::MessageConsumption(code) => is_unknown_by(*code),
        _ => false,
    }
}

/// The same of the code that stands behind a fatal error.
#[must_use]
pub fn is_unknown_by(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion)
}

/// Whether a line of librdkafka's log says that the broker does not know KIP-848: to its
/// application librdkafka gives no error then, and looks for another coordinator for ever.
#[must_use]
pub fn says_unknown(message: &str) -> bool {
    message.contains("ConsumerGroupHeartbeat") && message.contains("NOT supported by broker")
}

/// Whether an error says that a partition's place could not be had: librdkafka 2.12 does not ask
/// again, and the partition is never read.
#[must_use]
pub fn says_unread(reason: &str) -> bool {
    reason.starts_with("Failed to fetch committed offset")
}

/// Has the client know the topics before it joins. A member that hears of its partitions while it does not know
/// their topic asks for that first, and says meanwhile that it has none.
///
/// Where no broker answers it joins all the same.
pub async fn know(consumer: &Arc<Consumer>, topics: &[String], stop: &CancellationToken) {
    let (consumer, topics) = (consumer.clone(), topics.to_vec());
    let asked = spawn_blocking(move || {
        for topic in &topics {
            if let Err(error) = consumer.fetch_metadata(Some(topic), KNOW) {
                warn!(topic, %error, "the topic is not known yet");
                return;
            }
        }
    });
    tokio::select! {
        () = stop.cancelled() => {}
        asked = asked => asked.expect("asking does not panic"),
    }
}

/// Heartbeats under KIP-848 until `stop`.
///
/// A member that has no partitions, and is told no epoch for long although brokers answer, has the runner start
/// again: librdkafka (2.12) may have sent its last heartbeat, and there is no commit that would be refused.
pub async fn heartbeat(consumer: Weak<Consumer>, topics: Vec<String>, stop: CancellationToken) {
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut without = Some(Instant::now());
    let mut heard = (0, Instant::now());
    loop {
        let eager = without.is_some_and(|since| since.elapsed() < EAGER_FOR);
        let pause = if eager { EAGER } else { HEARTBEAT };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        let Some(consumer) = consumer.upgrade() else { return };
        if consumer.context().owned() == 0 {
            without.get_or_insert_with(Instant::now);
            let epoch = member_epoch(&*consumer);
            if epoch != heard.0 {
                heard = (epoch, Instant::now());
            }
            if epoch <= 0 && heard.1.elapsed() > UNHEARD {
                heard.1 = Instant::now();
                let (asked, topic) = (consumer.clone(), topics[0].to_owned());
                let asked = spawn_blocking(move || asked.fetch_metadata(Some(&topic), KNOW).is_ok());
                if asked.await.is_ok_and(|answered| answered) {
                    error!("the group has not answered this member for {UNHEARD:?}: the runner must start again");
                    consumer.context().commits.fail();
                    return;
                }
            }
            if heard.1.elapsed() < if epoch > 0 { HEARD } else { JOINING } {
                continue;
            }
        } else {
            without = None;
        }
        if let Err(error) = consumer.subscribe(&topics) {
            warn!(%error, "no heartbeat");
        }
    }
}
