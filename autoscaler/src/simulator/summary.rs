//! One policy on one trace under several alignments of its clocks with the load.

use super::Score;
use std::time::Duration;

/// Several scores in one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// [`Score::late`] on average, in record-seconds.
    pub late: f64,
    /// The least of them.
    pub least_late: f64,
    /// The most of them.
    pub most_late: f64,
    /// [`Score::pods`] on average, in pod-seconds.
    pub pods: f64,
    /// [`Score::scalings`] on average.
    pub scalings: f64,
    /// [`Score::rebalances`] on average.
    pub rebalances: f64,
    /// The longest [`Score::worst_wait`] of all.
    pub worst_wait: Duration,
    /// [`Score::backlog`] on average.
    pub backlog: f64,
}

impl Summary {
    /// Of these scores.
    #[must_use]
    pub fn of(scores: &[Score]) -> Self {
        let mean = |of: fn(&Score) -> f64| scores.iter().map(of).sum::<f64>() / scores.len().max(1) as f64;
        let late = |score: &Score| score.late as f64 / 1000.0;
        Self {
            late: mean(late),
            least_late: scores.iter().map(late).reduce(f64::min).unwrap_or_default(),
            most_late: scores.iter().map(late).reduce(f64::max).unwrap_or_default(),
            pods: mean(|score| score.pods.as_secs_f64()),
            scalings: mean(|score| f64::from(score.scalings)),
            rebalances: mean(|score| f64::from(score.rebalances)),
            worst_wait: scores.iter().map(|score| score.worst_wait).max().unwrap_or_default(),
            backlog: mean(|score| score.backlog as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Score, Summary};
    use std::time::Duration;

    #[test]
    fn means_and_extremes() {
        let score = |late, scalings, wait| Score {
            late,
            scalings,
            worst_wait: Duration::from_secs(wait),
            pods: Duration::from_secs(wait),
            ..Score::default()
        };
        let summary = Summary::of(&[score(1_000, 1, 5), score(4_000, 3, 7)]);
        let expected = Summary {
            late: 2.5,
            least_late: 1.0,
            most_late: 4.0,
            pods: 6.0,
            scalings: 2.0,
            worst_wait: Duration::from_secs(7),
            ..Summary::default()
        };
        assert_eq!((summary, Summary::of(&[])), (expected, Summary::default()));
    }
}
