//! The letters of several topics, counted at once, with a word on standard error of how far it is.

use super::{Letters, offsets, progress, tally::Tally};
use anyhow::Result;
use indicatif::ProgressBar;
use parking_lot::Mutex;
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};
use tidemill_kafka::{Connection, Spans};

/// Topics that are read at once: a reader mostly waits for brokers.
const AT_ONCE: usize = 8;
/// How often it is said how far it is, where no bar can be drawn.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts the letters of each topic.
///
/// # Errors
/// When Kafka does not answer.
pub fn count(connection: &Connection, topics: &[(String, Spans)]) -> Result<Vec<Tally>> {
    let bar = progress(topics.iter().map(|(_, spans)| offsets(spans)).sum())?;
    bar.enable_steady_tick(Duration::from_millis(200));
    let rest = Mutex::new(topics.iter().enumerate());
    let next = || rest.lock().next();
    let mut tallies = Vec::new();
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for _ in 0..AT_ONCE.min(topics.len()) {
            let (tell, next, bar) = (tell.clone(), &next, &bar);
            scope.spawn(move || {
                while let Some((place, (topic, spans))) = next() {
                    let tally = of_topic(connection, topic, spans, bar).map(|tally| (place, tally));
                    // After the first error nobody listens, and no other topic is begun.
                    if tell.send(tally).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let mut said = Instant::now();
        loop {
            match told.recv_timeout(PAUSE.saturating_sub(said.elapsed())) {
                Ok(tally) => tallies.push(tally?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return anyhow::Ok(()),
            }
            let so_far = format!("{} of {} topics", tallies.len(), topics.len());
            if said.elapsed() >= PAUSE {
                said = Instant::now();
                if bar.is_hidden() {
                    eprintln!("{so_far} are counted, {} letters so far", bar.position());
                }
            }
            bar.set_message(so_far);
        }
    })?;
    bar.finish_and_clear();
    tallies.sort_by_key(|(place, _)| *place);
    Ok(tallies.into_iter().map(|(_, tally)| tally).collect())
}

fn of_topic(connection: &Connection, topic: &str, spans: &Spans, bar: &ProgressBar) -> Result<Tally> {
    let mut tally = Tally::new(topic);
    // Most topics of dead letters are empty, and need nobody who reads them.
    if offsets(spans) == 0 {
        return Ok(tally);
    }
    let mut letters = Letters::open(connection, topic, spans)?;
    while let Some(letter) = letters.next()? {
        tally.add(&letter);
        bar.inc(1);
    }
    Ok(tally)
}
