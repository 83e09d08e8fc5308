//! How many records a second one invocation works off (μ), from what the runners report.
//!
//! What was measured while records waited counts before what was measured without: small batches
//! make a function look slower than it is.

use crate::Work;
use serde::{Deserialize, Serialize};

/// Seconds of work over which a measure is smoothed.
const SPAN: f64 = 20.0;
/// Seconds of work after which it counts.
const ENOUGH: f64 = 0.05;

/// A function's speed so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    last: Work,
    loaded: Measure,
    light: Measure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Measure {
    answered: f64,
    seconds: f64,
}

impl Capacity {
    /// A function that was measured before.
    #[must_use]
    pub fn known(per_second: f64) -> Self {
        let loaded = Measure { answered: per_second * ENOUGH, seconds: ENOUGH };
        Self { loaded, ..Self::default() }
    }

    /// Takes in what was done so far; `waiting` says whether records waited meanwhile.
    pub fn observe(&mut self, work: Work, waiting: bool) {
        let seconds = work.busy_seconds - self.last.busy_seconds;
        let answered = work.answered.saturating_sub(self.last.answered);
        if seconds < 0.0 {
            // What some have done is not counted for the moment.
            return;
        }
        self.last = work;
        if seconds <= 0.0 || answered == 0 {
            return;
        }
        let measure = if waiting { &mut self.loaded } else { &mut self.light };
        let kept = (-seconds / SPAN).exp();
        measure.answered = measure.answered * kept + answered as f64;
        measure.seconds = measure.seconds * kept + seconds;
    }

    /// Records a second and invocation, once it was measured.
    #[must_use]
    pub fn per_invocation(&self) -> Option<f64> {
        let known = [self.loaded, self.light].into_iter().find(|measure| measure.seconds >= ENOUGH)?;
        Some(known.answered / known.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::Capacity;
    use crate::Work;

    #[test]
    fn work_under_load_counts_before_other_work() {
        let mut capacity = Capacity::default();
        let mut work = Work::default();
        let mut done = |answered, seconds, waiting| {
            work = Work { answered: work.answered + answered, busy_seconds: work.busy_seconds + seconds };
            capacity.observe(work, waiting);
            capacity.per_invocation().map(f64::round)
        };
        assert_eq!(done(1, 0.04, false), None, "too little to say");
        assert_eq!(done(1, 0.04, false), Some(25.0));
        assert_eq!(done(100, 0.5, true), Some(200.0), "a full batch");
        assert_eq!(done(1, 1.0, false), Some(200.0));
        assert_eq!(done(5_000, 100.0, true), Some(50.0), "it has become slower");
    }

    #[test]
    fn what_was_known_holds_until_it_is_measured_again() {
        let mut capacity = Capacity::known(50.0);
        assert_eq!(capacity.per_invocation(), Some(50.0));
        capacity.observe(Work { answered: 2_000, busy_seconds: 20.0 }, true);
        assert!(capacity.per_invocation().is_some_and(|now| now > 99.0), "{capacity:?}");
    }
}
