//! Which fault comes when, whom it meets and how long it lasts: all drawn from one seed, so that
//! the same seed gives the same faults in the same order.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{fmt, ops::RangeInclusive, time::Duration};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// kill -9 of a function's process, of each group.
    Function,
    /// kill -9 of a runner of each group.
    Runner,
    /// A runner of each group that has two stands still for longer than its session lasts, and then goes on.
    Zombie,
    /// No packet passes between a runner of each group that has two and the brokers.
    Cut,
    /// kill -9 of the broker that leads a partition of the input.
    Leader,
    /// kill -9 of the active controller.
    Controller,
    /// A broker's disk takes a few writes a second.
    SlowDisk,
    /// A broker's disk has no room left.
    FullDisk,
    /// kill -9 of Redis.
    Redis,
    /// kill -9 of S3.
    S3,
    /// A runner's clock goes forward by an hour and comes back.
    Forward,
    /// A runner's clock goes back by an hour and comes back.
    Backward,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::Function,
        Self::Runner,
        Self::Zombie,
        Self::Cut,
        Self::Leader,
        Self::Controller,
        Self::SlowDisk,
        Self::FullDisk,
        Self::Redis,
        Self::S3,
        Self::Forward,
        Self::Backward,
    ];

    /// Whether it meets only groups with a second runner.
    #[must_use]
    pub const fn is_for_shared(self) -> bool {
        matches!(self, Self::Zombie | Self::Cut | Self::Forward | Self::Backward)
    }

    /// How long it lasts, in seconds.
    const fn lasts(self) -> RangeInclusive<u64> {
        match self {
            Self::Function => 1..=4,
            Self::Runner => 0..=8,
            // Brokers miss a member after ten seconds.
            Self::Zombie => 13..=25,
            Self::Cut => 3..=25,
            Self::Leader | Self::Controller => 1..=12,
            Self::SlowDisk => 8..=20,
            Self::FullDisk => 6..=15,
            Self::Redis | Self::S3 => 2..=15,
            Self::Forward | Self::Backward => 4..=12,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Function => "function killed",
            Self::Runner => "runner killed",
            Self::Zombie => "runner stopped, goes on",
            Self::Cut => "network cut",
            Self::Leader => "leader killed",
            Self::Controller => "controller killed",
            Self::SlowDisk => "slow disk",
            Self::FullDisk => "full disk",
            Self::Redis => "Redis away",
            Self::S3 => "S3 away",
            Self::Forward => "clock 1 h forward",
            Self::Backward => "clock 1 h back",
        })
    }
}

/// One fault of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What goes wrong.
    pub fault: Fault,
    /// How long nothing goes wrong before.
    pub calm: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// Chooses whom it meets.
    pub pick: usize,
}

/// An endless schedule: all faults in some order, and again in another.
pub struct Schedule {
    rng: StdRng,
    faults: Vec<Fault>,
    left: Vec<Fault>,
    brief: bool,
}

impl Schedule {
    /// The schedule of a seed; a brief one has each fault at its shortest.
    #[must_use]
    pub fn new(seed: u64, faults: &[Fault], brief: bool) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), faults: faults.to_vec(), left: Vec::new(), brief }
    }
}

impl Iterator for Schedule {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        if self.left.is_empty() {
            self.left.clone_from(&self.faults);
            self.left.shuffle(&mut self.rng);
        }
        let fault = self.left.pop()?;
        let lasts = fault.lasts();
        let (calm, lasts) = match self.brief {
            true => (1, *lasts.start()),
            false => (self.rng.random_range(3..=8), self.rng.random_range(lasts)),
        };
        let pick = self.rng.random_range(0..1_000);
        Some(Round { fault, calm: Duration::from_secs(calm), lasts: Duration::from_secs(lasts), pick })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Schedule};

    #[test]
    fn a_seed_gives_the_same_faults_again_and_each_equally_often() {
        let rounds = |seed| Schedule::new(seed, &Fault::ALL, false).take(Fault::ALL.len() * 3).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
        let often = |fault| rounds(7).iter().filter(|round| round.fault == fault).count();
        assert!(Fault::ALL.into_iter().all(|fault| often(fault) == 3));
    }
}
