//! When a channel may speak: at most `rate` messages in any second.
//!
//! The first half of a second's messages go out at once, so that a burst arrives whole; the
//! second half is spaced, so that a steady flood arrives as a steady stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(1);

/// The pace of one channel.
#[derive(Debug)]
pub struct Pace {
    rate: usize,
    /// Times of the messages in the last second, oldest first; at most `rate`.
    sent: VecDeque<Instant>,
}

impl Pace {
    /// At most `rate` messages in any second; at least 1.
    pub fn new(rate: u32) -> Self {
        Self { rate: usize::try_from(rate.max(1)).unwrap_or(usize::MAX), sent: VecDeque::new() }
    }

    /// Takes leave to speak at `now`.
    ///
    /// # Errors
    /// The time from which asking again succeeds.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        while self.sent.front().is_some_and(|&oldest| oldest + WINDOW <= now) {
            self.sent.pop_front();
        }
        let mut earliest = now;
        if let (true, Some(&last)) = (self.sent.len() >= self.rate.div_ceil(2), self.sent.back()) {
            earliest = last + WINDOW / u32::try_from(self.rate).unwrap_or(u32::MAX);
        }
        if let (true, Some(&oldest)) = (self.sent.len() >= self.rate, self.sent.front()) {
            earliest = earliest.max(oldest + WINDOW);
        }
        if earliest > now {
            return Err(earliest);
        }
        self.sent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, WINDOW};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    proptest! {
        #[test]
        fn never_above_the_rate_and_never_stuck(rate in 1u32..40, gaps in prop::collection::vec(0u64..120, 1..400)) {
            let mut pace = Pace::new(rate);
            let mut now = Instant::now();
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match pace.take(now) {
                    Ok(()) => sent.push(now),
                    Err(retry) => {
                        prop_assert!(retry > now && retry <= now + WINDOW);
                        now = retry;
                        prop_assert!(pace.take(now).is_ok(), "refused at the time it named");
                        sent.push(now);
                    }
                }
            }
            for (index, start) in sent.iter().enumerate() {
                let within = sent[index..].iter().take_while(|&&time| time < *start + WINDOW).count();
                prop_assert!(within <= rate as usize, "{within} in a second at rate {rate}");
            }
        }
    }

    #[test]
    fn a_flood_comes_out_evenly_after_its_first_second() {
        let mut pace = Pace::new(20);
        let start = Instant::now();
        let times: Vec<Duration> =
            (0..5000).map(Duration::from_millis).filter(|&at| pace.take(start + at).is_ok()).collect();
        let late: Vec<&Duration> = times.iter().filter(|at| **at >= Duration::from_millis(1100)).collect();
        for pair in late.windows(2) {
            let gap = *pair[1] - *pair[0];
            assert!((45..=55).contains(&gap.as_millis()), "gap {gap:?} in {late:?}");
        }
    }
}
