//! The loads that are replayed: what arrives when, on which partition, and what fails.

use super::STEP;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{f64::consts::TAU, ops::Range, time::Duration};

/// A load over time.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Its name, also of its picture.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How long it lasts.
    pub length: Duration,
    /// Pods that are there when it begins.
    pub replicas: u32,
    /// Records a second, by the minute.
    rate: fn(f64) -> f64,
    /// The share of the first partition; the others share the rest. `None`: all have the same.
    hot: Option<f64>,
    /// Minutes in which the records of one partition fail.
    failing: Option<(usize, Range<f64>)>,
    /// Whether arrivals are drawn by chance, with this seed, rather than evenly spaced.
    noise: Option<u64>,
}

impl Trace {
    fn new(name: &'static str, about: &'static str, minutes: u64, replicas: u32, rate: fn(f64) -> f64) -> Self {
        let length = Duration::from_secs(60 * minutes);
        Self { name, about, length, replicas, rate, hot: None, failing: None, noise: None }
    }

    /// The partition whose records fail at that time.
    #[must_use]
    pub fn failing(&self, now: Duration) -> Option<usize> {
        self.failing.as_ref().filter(|(_, minutes)| minutes.contains(&minute(now))).map(|(partition, _)| *partition)
    }

    /// What arrives, from the beginning.
    pub(super) fn arrivals(&self, partitions: usize) -> Arrivals<'_> {
        let even = 1.0 / partitions as f64;
        let others = (1.0 - self.hot.unwrap_or(even)) / partitions.saturating_sub(1).max(1) as f64;
        Arrivals {
            trace: self,
            shares: (0..partitions).map(|number| if number == 0 { self.hot.unwrap_or(even) } else { others }).collect(),
            // Staggered, so that the partitions' records do not arrive in the same step.
            begun: (0..partitions).map(|number| number as f64 * even).collect(),
            chance: SmallRng::seed_from_u64(self.noise.unwrap_or_default()),
            gust: 1.0,
        }
    }
}

/// The arrivals of a trace.
pub(super) struct Arrivals<'a> {
    trace: &'a Trace,
    shares: Vec<f64>,
    /// The part of a record that is due but has not arrived.
    begun: Vec<f64>,
    chance: SmallRng,
    gust: f64,
}

impl Arrivals<'_> {
    /// Records for each partition, in the step that begins `now`.
    pub(super) fn next(&mut self, now: Duration) -> Vec<u64> {
        let expected = (self.trace.rate)(minute(now)).max(0.0) * STEP.as_secs_f64();
        if self.trace.noise.is_some() {
            if now.subsec_millis() == 0 && now.as_secs().is_multiple_of(5) {
                self.gust = self.chance.random_range(0.4..1.6);
            }
            let expected = expected * self.gust;
            return self.shares.iter().map(|share| poisson(expected * share, &mut self.chance)).collect();
        }
        let due = self.begun.iter_mut().zip(&self.shares).map(|(begun, share)| {
            *begun += expected * share;
            let whole = begun.floor();
            *begun -= whole;
            whole as u64
        });
        due.collect()
    }
}

/// By Knuth's method: how many uniform factors until the product falls below e^-mean.
fn poisson(mean: f64, chance: &mut SmallRng) -> u64 {
    let (limit, mut product, mut drawn) = ((-mean).exp(), chance.random::<f64>(), 0);
    while product > limit {
        product *= chance.random::<f64>();
        drawn += 1;
    }
    drawn
}

fn minute(now: Duration) -> f64 {
    now.as_secs_f64() / 60.0
}

/// All traces, in the order of the results.
#[must_use]
pub fn traces() -> Vec<Trace> {
    let steady = |_| 120.0;
    vec![
        Trace::new("step", "40/s, 400/s for 15 minutes, 40/s", 40, 1, |minute| {
            if (10.0..25.0).contains(&minute) { 400.0 } else { 40.0 }
        }),
        Trace::new("ramp", "from 20/s to 560/s in 20 minutes, and back in 10", 40, 1, |minute| {
            20.0 + 540.0 * (minute / 20.0).min((35.0 - minute) / 10.0).clamp(0.0, 1.0)
        }),
        Trace::new("sawtooth", "from 30/s to 450/s every 5 minutes", 40, 1, |minute| {
            30.0 + 84.0 * minute.rem_euclid(5.0)
        }),
        Trace::new("diurnal", "a day in an hour, between 10/s and 510/s", 60, 1, |minute| {
            260.0 - 250.0 * (TAU * minute / 60.0).cos()
        }),
        Trace::new("spikes", "300/s for 30 seconds every 10 minutes, nothing in between", 60, 0, |minute| {
            if (5.0..5.5).contains(&minute.rem_euclid(10.0)) { 300.0 } else { 0.0 }
        }),
        Trace {
            noise: Some(20),
            ..Trace::new("noise", "200/s on average; each 5 seconds 40 % to 160 % of it, by chance", 30, 4, |_| 200.0)
        },
        Trace {
            failing: Some((3, 10.0..15.0)),
            ..Trace::new("poison", "120/s; one of 12 partitions fails for 5 minutes", 40, 3, steady)
        },
        Trace {
            hot: Some(0.7),
            ..Trace::new("hot", "60/s, 100/s for 5 minutes, 30/s; 70 % of it on one partition", 40, 3, |minute| {
                match minute {
                    ..10.0 => 60.0,
                    ..15.0 => 100.0,
                    _ => 30.0,
                }
            })
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::{STEP, traces};
    use std::time::Duration;

    #[test]
    fn as_many_records_arrive_as_the_trace_says() {
        for (name, minutes, expected) in [
            ("step", 10, 24_000),
            ("step", 25, 384_000),
            ("spikes", 10, 9_000),
            ("poison", 40, 288_000),
            ("hot", 15, 66_000),
        ] {
            let trace = traces().into_iter().find(|trace| trace.name == name).expect("a trace");
            let mut arrivals = trace.arrivals(12);
            let arrived: u64 = (0..minutes * 600).flat_map(|step| arrivals.next(STEP * step)).sum();
            assert!(arrived.abs_diff(expected) <= 12, "{name}: {arrived}");
        }
    }

    #[test]
    fn noise_keeps_its_mean_and_repeats() {
        let trace = traces().into_iter().find(|trace| trace.name == "noise").expect("a trace");
        let run = || {
            let mut arrivals = trace.arrivals(12);
            (0..18_000).map(|step| arrivals.next(STEP * step).iter().sum::<u64>()).collect::<Vec<_>>()
        };
        let arrived = run();
        assert!(arrived.iter().sum::<u64>().abs_diff(360_000) < 20_000);
        assert_eq!(arrived, run());
    }

    #[test]
    fn poison_fails_for_its_minutes() {
        let trace = traces().into_iter().find(|trace| trace.name == "poison").expect("a trace");
        for (second, expected) in [(0, None), (599, None), (600, Some(3)), (899, Some(3)), (900, None)] {
            assert_eq!(trace.failing(Duration::from_secs(second)), expected, "{second} s");
        }
    }
}
