//! Numbered records, at a rate, without end: what the brokers have acknowledged is what must come
//! out. Each is a tick of the market, since `notify` takes nothing else; its number is its trade id.

use super::ledger::KEYS;
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tidemill_kafka::{
    Connection,
    rdkafka::producer::{FutureProducer, FutureRecord, Producer},
};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::{JoinHandle, JoinSet},
    time::interval,
};

/// Each so many records have a value that one of the functions does not like.
const POISON: u64 = 50;
const TICK: Duration = Duration::from_millis(20);
/// What stands before a record's number in its value.
const NUMBER: &str = r#""tradeId":""#;
const DIGITS: usize = 10;

/// What was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// Numbers that the brokers have acknowledged.
    pub acknowledged: BTreeSet<u64>,
    /// How many they may have or not: sending them has failed.
    pub unknown: usize,
}

/// A producer that goes on until it is stopped.
pub struct Feed {
    /// What it has sent.
    pub sent: Arc<Mutex<Sent>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Begins.
    #[must_use]
    pub fn start(connection: &Connection, topic: &str, per_second: u64) -> Self {
        let sent: Arc<Mutex<Sent>> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(feed(connection.clone(), topic.to_owned(), per_second, sent.clone(), stopped));
        Self { sent, stop, task }
    }

    /// Sends no more, and waits until all that was sent is acknowledged or given up.
    ///
    /// # Panics
    /// When sending has panicked.
    pub async fn stop(self) -> Arc<Mutex<Sent>> {
        drop(self.stop);
        self.task.await.expect("sending does not panic");
        self.sent
    }
}

async fn feed(
    connection: Connection,
    topic: String,
    per_second: u64,
    sent: Arc<Mutex<Sent>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut producer = producer(&connection);
    let mut number = 0;
    let mut ticks = interval(TICK);
    let mut under_way = JoinSet::new();
    while stopped.try_recv() == Err(TryRecvError::Empty) {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        if producer.client().fatal_error().is_some() {
            producer = self::producer(&connection);
        }
        for _ in 0..(per_second * TICK.as_millis() as u64 / 1_000).max(1) {
            number += 1;
            let (key, value) = (format!("key{}", number % KEYS), value(number));
            let delivery = producer.send_result(FutureRecord::to(&topic).key(&key).payload(&value));
            let Ok(delivery) = delivery else {
                // Its queue is full: what never went in is nobody's to give back.
                continue;
            };
            let sent = sent.clone();
            under_way.spawn(async move {
                let delivered = matches!(delivery.await, Ok(Ok(_)));
                let mut sent = sent.lock();
                if delivered {
                    sent.acknowledged.insert(number);
                } else {
                    sent.unknown += 1;
                }
            });
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// It outlives every fault: only what it has given up may be in the topic or not.
fn producer(connection: &Connection) -> FutureProducer {
    connection.producer_config().set("delivery.timeout.ms", "120000").create().expect("a producer")
}

fn value(number: u64) -> String {
    let exchange = if number.is_multiple_of(POISON) { "poison" } else { "e2e" };
    format!(
        r#"{{{NUMBER}{number:010}","symbol":"S{}","price":"1.5","quantity":"1","timestamp":"2026-01-01T00:00:00Z","exchange":"{exchange}"}}"#,
        number % KEYS
    )
}

/// The number of a record that came out.
#[must_use]
pub fn number(value: &str) -> Option<u64> {
    let (_, rest) = value.split_once(NUMBER)?;
    rest.get(..DIGITS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{number, value};

    #[test]
    fn a_number_is_found_in_its_value() {
        assert_eq!(number(&value(4_711)), Some(4_711));
        assert_eq!(number(r#"{"price":"1"}"#), None);
    }
}
