//! Waits for the first record on the partitions of functions at rest.

use super::{Shared, describe};
use std::{
    thread::{Thread, sleep},
    time::{Duration, Instant},
};
use tidemill_kafka::{Connection, RecordWatch};
use tracing::warn;

/// How long one wait lasts: so late at most a partition that has come to rest is watched.
const WAIT: Duration = Duration::from_millis(200);
/// Before a client that failed is made again.
const PAUSE: Duration = Duration::from_secs(5);

/// Watches until told to stop, and tells `rounds` what has come.
pub(super) fn run(shared: &Shared, connection: &Connection, rounds: &Thread) {
    let mut watch: Option<RecordWatch> = None;
    let mut seen = 0;
    while !shared.stopped() {
        let wanted = {
            let watched = shared.watched.lock();
            let news = watched.version != seen;
            if watched.places.is_empty() && watch.is_none() {
                drop(watched);
                // Nothing rests: no client is needed.
                sleep(WAIT);
                continue;
            }
            seen = watched.version;
            news.then(|| watched.places.clone())
        };
        let woken = match &mut watch {
            Some(watch) => wanted.map_or(Ok(()), |wanted| watch.watch(&wanted)).and_then(|()| watch.wait(WAIT)),
            None => RecordWatch::new(connection).map(|new| {
                watch = Some(new);
                // It watches nothing yet.
                seen = 0;
                Default::default()
            }),
        };
        match woken {
            Ok(woken) if woken.is_empty() => {}
            Ok(woken) => {
                let now = Instant::now();
                let mut watched = shared.watched.lock();
                let mut topics = shared.woken.lock();
                for place in woken {
                    watched.places.remove(&place);
                    topics.entry(place.0).or_insert(now);
                }
                rounds.unpark();
            }
            Err(error) => {
                warn!(cluster = shared.key, error = describe(&error), "records cannot be waited for");
                watch = None;
                sleep(PAUSE);
            }
        }
    }
}
