//! How much one client may say: many messages at once, as when it subscribes to all it wants,
//! and after that a steady few.

use std::time::{Duration, Instant};

/// Messages at once.
const BURST: u32 = 2000;

/// The time that each message has to be made up for.
const INTERVAL: Duration = Duration::from_millis(10);

/// One client's allowance.
#[derive(Debug)]
pub struct Allowance {
    /// When all that was said has been made up for.
    paid: Instant,
}

impl Allowance {
    /// A whole burst from `now` on.
    pub fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Takes one message; whether there was one left.
    pub fn take(&mut self, now: Instant) -> bool {
        let paid = self.paid.max(now) + INTERVAL;
        let left = paid <= now + INTERVAL * BURST;
        if left {
            self.paid = paid;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowance, BURST, INTERVAL};
    use std::time::Instant;

    #[test]
    fn a_burst_then_one_an_interval() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!((0..BURST).all(|_| allowance.take(start)));
        assert!(!allowance.take(start));
        assert!(allowance.take(start + INTERVAL));
        assert!(!allowance.take(start + INTERVAL));
        let rested = start + INTERVAL * (2 * BURST);
        assert!((0..BURST).all(|_| allowance.take(rested)));
        assert!(!allowance.take(rested), "what is not used is not saved");
    }
}
