//! Whether added replicas add anything.
//!
//! Where what a function calls (a database, an API) is what limits it, more replicas only wait
//! longer. That shows when a backlog is worked off no faster by more of them: then the count that
//! was enough is kept for a while, and tried again later.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// For how long a count is watched before it is judged.
const WATCHED: Duration = Duration::from_secs(10);
/// The least part of what was hoped for that added replicas must add.
const WORTH: f64 = 0.2;
/// How long a bound holds at first, and at most; each time it is found again it holds twice as long.
const HOLD: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(3_600));

/// What is known of the speeds of counts of replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    now: Option<Watched>,
    /// The speed of fewer replicas, before some were added.
    before: Option<Speed>,
    found: Option<Found>,
    hold: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    replicas: u32,
    since: Duration,
    done: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Speed {
    replicas: u32,
    rate: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    /// How fast those were that were enough.
    speed: Speed,
    until: Duration,
    words: String,
}

impl Bound {
    /// Nothing can be said now: replicas come or go.
    pub fn pause(&mut self) {
        self.now = None;
    }

    /// They keep up: how fast they are says nothing of how fast they could be.
    pub fn keeps_up(&mut self) {
        (self.now, self.before) = (None, None);
    }

    /// Takes in how much was done so far (`done` grows by one for each record that was answered
    /// for) by `replicas` that all work while more waits than they can do in time.
    pub fn behind(&mut self, at: Duration, replicas: u32, done: i64) {
        let watched = match self.now {
            Some(watched) if watched.replicas == replicas && done >= watched.done => watched,
            _ => {
                self.now = Some(Watched { replicas, since: at, done });
                return;
            }
        };
        let seconds = at.saturating_sub(watched.since);
        if seconds < WATCHED {
            return;
        }
        let speed = Speed { replicas, rate: (done - watched.done) as f64 / seconds.as_secs_f64() };
        match self.before {
            Some(before) if before.replicas < replicas => {
                let hoped = f64::from(replicas) / f64::from(before.replicas.max(1)) - 1.0;
                if before.rate > 0.0 && speed.rate < before.rate * (1.0 + WORTH * hoped) {
                    let hold = self.hold.map_or(HOLD.0, |hold| (hold * 2).min(HOLD.1));
                    let words = format!(
                        "{replicas} replicas worked off {:.0}/s, {} did {:.0}/s: more add nothing",
                        speed.rate, before.replicas, before.rate
                    );
                    self.hold = Some(hold);
                    self.found = Some(Found { speed: before, until: at + hold, words });
                } else {
                    self.hold = None;
                }
                self.before = Some(speed);
            }
            _ => self.before = Some(speed),
        }
        // As many as then are clearly faster now: what limited them has gone.
        let freed =
            |found: &mut Found| found.speed.replicas >= replicas && speed.rate > found.speed.rate * (1.0 + WORTH);
        if self.found.take_if(freed).is_some() {
            self.hold = None;
        }
        self.now = Some(Watched { replicas, since: at, done });
    }

    /// The most replicas that add something, and how that was seen.
    #[must_use]
    pub fn limit(&self, at: Duration) -> Option<(u32, &str)> {
        let found = self.found.as_ref().filter(|found| at < found.until)?;
        Some((found.speed.replicas, &found.words))
    }
}

#[cfg(test)]
mod tests {
    use super::Bound;
    use std::time::Duration;

    /// Works for `seconds` with so many replicas at that rate.
    fn work(bound: &mut Bound, at: &mut u64, done: &mut i64, replicas: u32, rate: i64, seconds: u64) {
        for _ in 0..seconds {
            *at += 1;
            *done += rate;
            bound.behind(Duration::from_secs(*at), replicas, *done);
        }
    }

    fn after(first: (u32, i64), second: (u32, i64)) -> (Bound, Duration) {
        let (mut bound, mut at, mut done) = (Bound::default(), 0, 0);
        work(&mut bound, &mut at, &mut done, first.0, first.1, 15);
        work(&mut bound, &mut at, &mut done, second.0, second.1, 15);
        (bound, Duration::from_secs(at))
    }

    #[test]
    fn replicas_that_add_nothing_are_found() {
        for (first, second, limit) in [
            ((2, 100), (4, 200), None),
            ((2, 100), (4, 130), None),
            ((2, 100), (4, 101), Some(2)),
            ((2, 100), (4, 60), Some(2)),
            ((1, 50), (12, 55), Some(1)),
            ((4, 100), (2, 50), None),
        ] {
            let (bound, at) = after(first, second);
            assert_eq!(bound.limit(at).map(|(limit, _)| limit), limit, "{first:?} {second:?}");
        }
    }

    #[test]
    fn it_is_tried_again_later() {
        let (bound, at) = after((2, 100), (4, 101));
        assert!(bound.limit(at).is_some_and(|(_, words)| words.contains("more add nothing")));
        assert!(bound.limit(at + Duration::from_secs(290)).is_some());
        assert_eq!(bound.limit(at + Duration::from_secs(301)), None);
    }

    #[test]
    fn what_limited_them_can_go_before() {
        for (rate, held) in [(110, true), (90, true), (160, false)] {
            let (mut bound, at) = after((2, 100), (4, 101));
            let (mut at, mut done) = (at.as_secs(), 10_000);
            work(&mut bound, &mut at, &mut done, 2, rate, 15);
            assert_eq!(bound.limit(Duration::from_secs(at)).is_some(), held, "{rate}/s");
        }
    }

    #[test]
    fn without_a_backlog_nothing_is_concluded() {
        let (mut bound, mut at, mut done) = (Bound::default(), 0, 0);
        work(&mut bound, &mut at, &mut done, 2, 100, 15);
        bound.keeps_up();
        work(&mut bound, &mut at, &mut done, 4, 100, 15);
        assert_eq!(bound.limit(Duration::from_secs(at)), None);
    }
}
