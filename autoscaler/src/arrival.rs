//! How fast records arrive (λ): for each partition smoothed over a few seconds, and for all of
//! them together with a trend, by Holt's double exponential smoothing (C. C. Holt, 1957).

use crate::Look;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The span over which a rate is smoothed, in seconds.
const SPAN: f64 = 10.0;
/// The span over which its trend is, in seconds.
const TREND_SPAN: f64 = 30.0;

/// Arrivals so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    last: Option<(Duration, Vec<i64>)>,
    partitions: Vec<f64>,
    total: f64,
    trend: f64,
    arrived: bool,
}

impl Arrival {
    /// Takes in where the partitions end now; what is unknown changes nothing.
    pub fn observe(&mut self, look: &Look) {
        self.arrived = false;
        let Some(partitions) = &look.partitions else { return };
        let ends: Vec<i64> = partitions.iter().map(|partition| partition.end).collect();
        match self.last.take() {
            // Partitions were added, or a topic was made anew: rates begin again where they were.
            Some((_, before)) if before.len() != ends.len() => self.partitions.resize(ends.len(), 0.0),
            Some((then, before)) => self.smooth(look.at.saturating_sub(then).as_secs_f64(), &before, &ends),
            None => self.partitions = vec![0.0; ends.len()],
        }
        self.last = Some((look.at, ends));
    }

    fn smooth(&mut self, seconds: f64, before: &[i64], ends: &[i64]) {
        let seconds = seconds.max(0.001);
        let weight = 1.0 - (-seconds / SPAN).exp();
        let mut all = 0.0;
        for (rate, (before, end)) in self.partitions.iter_mut().zip(before.iter().zip(ends)) {
            let now = (end - before).max(0) as f64 / seconds;
            *rate += (now - *rate) * weight;
            all += now;
        }
        self.arrived = all > 0.0;
        let expected = (self.total + self.trend * seconds).max(0.0);
        let total = expected + (all - expected) * weight;
        let trend = (total - self.total) / seconds;
        self.trend += (trend - self.trend) * (1.0 - (-seconds / TREND_SPAN).exp());
        self.total = total;
    }

    /// Records arriving a second on all partitions.
    #[must_use]
    pub fn rate(&self) -> f64 {
        // The sum of no partitions is -0.0.
        self.partitions.iter().sum::<f64>() + 0.0
    }

    /// Records arriving a second on each partition.
    #[must_use]
    pub fn partitions(&self) -> &[f64] {
        &self.partitions
    }

    /// By what the rate is to be multiplied to be what it will be in so many seconds; a rate that
    /// falls is not carried on.
    #[must_use]
    pub fn growth(&self, seconds: f64) -> f64 {
        let rate = self.rate();
        if rate <= 0.0 { 1.0 } else { 1.0 + (self.trend * seconds / rate).clamp(0.0, 1.0) }
    }

    /// Whether any came between the last two looks.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival;
    use crate::{Look, Partition};
    use std::time::Duration;

    fn look(second: u64, ends: &[i64]) -> Look {
        let partitions = ends.iter().map(|end| Partition { lag: 0, end: *end }).collect();
        Look { at: Duration::from_secs(second), partitions: Some(partitions), ..Look::default() }
    }

    #[test]
    fn the_rate_follows_arrivals_and_fades() {
        let mut arrival = Arrival::default();
        for second in 0..60 {
            arrival.observe(&look(second, &[100 * i64::try_from(second).expect("small"), 7]));
        }
        assert!((arrival.rate() - 100.0).abs() < 1.0, "{arrival:?}");
        assert!(arrival.partitions()[1] == 0.0 && arrival.arrived(), "{arrival:?}");
        assert!((arrival.growth(2.0) - 1.0).abs() < 0.05, "a rate that stands has no trend: {arrival:?}");
        arrival.observe(&look(120, &[5_900, 7]));
        assert!(arrival.rate() < 1.0 && !arrival.arrived(), "{arrival:?}");
    }

    #[test]
    fn a_ramp_is_seen_ahead() {
        let mut arrival = Arrival::default();
        let mut end = 0;
        for second in 0..60 {
            end += 10 * i64::try_from(second).expect("small");
            arrival.observe(&look(second, &[end]));
        }
        let ahead = arrival.rate() * arrival.growth(5.0);
        assert!((530.0..650.0).contains(&ahead), "590/s arrive: {ahead} {arrival:?}");
    }

    #[test]
    fn what_is_unknown_changes_nothing() {
        let mut arrival = Arrival::default();
        arrival.observe(&look(0, &[0]));
        arrival.observe(&look(1, &[50]));
        let before = arrival.clone();
        arrival.observe(&Look { at: Duration::from_secs(2), ..Look::default() });
        assert_eq!((arrival.rate(), arrival.arrived()), (before.rate(), false));
    }
}
