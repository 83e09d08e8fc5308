//! How fast letters are sent. No I/O.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// The most letters that are under way at once, and that are sent again after a crash.
const MOST: usize = 1_000;

/// At most so many letters a second, or as fast as it goes.
#[derive(Debug)]
pub struct Pace {
    rate: Option<NonZeroU32>,
    due: Option<Instant>,
}

impl Pace {
    /// At most `rate` letters a second.
    #[must_use]
    pub fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, due: None }
    }

    /// How many may be sent at once: those of a tenth of a second, so that what comes after feels a
    /// stream and not bursts.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.rate.map_or(MOST, |rate| (rate.get() as usize / 10).clamp(1, MOST))
    }

    /// How long to wait after `sent` letters that were begun to be sent at `began`. A pause that the
    /// brokers made is not caught up with.
    pub fn rest(&mut self, began: Instant, sent: usize, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let from = self.due.map_or(began, |due| due.max(began));
        let due = from + Duration::from_secs_f64(sent as f64 / f64::from(rate.get()));
        self.due = Some(due);
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::{
        num::NonZeroU32,
        time::{Duration, Instant},
    };

    #[test]
    fn a_tenth_of_a_second_goes_at_once() {
        for (rate, expected) in [(0, 1000), (1, 1), (9, 1), (100, 10), (1_000_000, 1000)] {
            assert_eq!(Pace::new(NonZeroU32::new(rate)).at_once(), expected, "{rate}");
        }
    }

    #[test]
    fn the_rate_is_kept_and_never_caught_up_with() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut pace = Pace::new(NonZeroU32::new(100));
        // Began, letters, took → rest, in milliseconds.
        let cases = [(0, 10, 5, 95), (100, 10, 20, 80), (200, 0, 1, 0), (201, 10, 150, 0), (351, 10, 1, 99)];
        for (began, sent, took, rest) in cases {
            assert_eq!(pace.rest(start + ms(began), sent, start + ms(began + took)), ms(rest), "{began}");
        }
        assert_eq!(Pace::new(None).rest(start, 1_000_000, start), Duration::ZERO);
    }
}
