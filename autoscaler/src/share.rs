//! What the busiest replica has to do when a group shares its partitions by count.
//!
//! A partition has one owner in its group, so a replica too many, or a hot partition, can make
//! more replicas useless: the busiest one stays as busy as it was.

use tidemill_api::Ordering;

/// What is to be done, and how fast one invocation does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// Partitions.
    pub partitions: u32,
    /// Records a second on all of them.
    pub total: f64,
    /// Records a second on the busiest.
    pub hottest: f64,
    /// Records a second that one invocation works off.
    pub per_invocation: f64,
    /// Invocations in flight in a replica.
    pub concurrency: u32,
    /// What may go on at once inside a partition.
    pub ordering: Ordering,
}

impl Demand {
    /// The most partitions that one of so many replicas has.
    #[must_use]
    pub fn share(&self, replicas: u32) -> u32 {
        self.partitions.max(1).div_ceil(replicas.max(1))
    }

    /// Records a second that a replica works off when each has that share.
    #[must_use]
    pub fn capacity(&self, share: u32) -> f64 {
        let at_once = match self.ordering {
            Ordering::Partition => self.concurrency.min(share),
            Ordering::Key | Ordering::None => self.concurrency,
        };
        self.per_invocation * f64::from(at_once.max(1))
    }

    /// The load of the busiest of so many replicas, leaving out the hottest partition; above 1 it
    /// cannot do what is asked.
    #[must_use]
    pub fn busiest(&self, replicas: u32) -> f64 {
        let share = self.share(replicas);
        f64::from(share) * self.others() / self.capacity(share)
    }

    /// How long the hottest partition takes, as a part of the time it has: its replica works on
    /// its other partitions too.
    #[must_use]
    pub fn hottest(&self, replicas: u32) -> f64 {
        let share = self.share(replicas);
        let left = self.capacity(share) - f64::from(share - 1) * self.others();
        let one_by_one = self.ordering == Ordering::Partition;
        let speed = if one_by_one { left.min(self.per_invocation) } else { left };
        if self.hottest <= 0.0 { 0.0 } else { self.hottest / speed.max(f64::EPSILON) }
    }

    /// Records a second on each partition but the hottest.
    fn others(&self) -> f64 {
        if self.partitions < 2 {
            return 0.0;
        }
        (self.total - self.hottest).max(0.0) / f64::from(self.partitions - 1)
    }

    /// The fewest replicas whose busiest has no larger share than with so many.
    #[must_use]
    pub fn as_good_as(&self, replicas: u32) -> u32 {
        self.partitions.max(1).div_ceil(self.share(replicas)).min(replicas.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::Demand;
    use proptest::prelude::*;
    use tidemill_api::Ordering;

    fn demand(total: f64, hottest: f64) -> Demand {
        let ordering = Ordering::Partition;
        Demand { partitions: 12, total, hottest, per_invocation: 50.0, concurrency: 1, ordering }
    }

    #[test]
    fn counts_that_lower_nobodys_share_are_skipped() {
        let even = demand(300.0, 25.0);
        let good: Vec<u32> = (1..=12).map(|replicas| even.as_good_as(replicas)).collect();
        assert_eq!(good, [1, 2, 3, 4, 4, 6, 6, 6, 6, 6, 6, 12]);
    }

    #[test]
    fn the_hottest_partition_has_what_others_leave() {
        assert!((demand(300.0, 25.0).hottest(6) - 1.0).abs() < 0.001);
        assert!((demand(300.0, 25.0).busiest(6) - 1.0).abs() < 0.001);
        assert!((demand(300.0, 25.0).busiest(12) - 0.5).abs() < 0.001);
        // 250/s on one partition are more than an invocation does, however many replicas there are.
        assert!((demand(305.0, 250.0).hottest(12) - 5.0).abs() < 0.001);
        assert!((demand(305.0, 250.0).hottest(6) - 250.0 / 45.0).abs() < 0.001);
        assert!(demand(800.0, 250.0).hottest(3) > 1e6, "the others leave it nothing");
    }

    #[test]
    fn lanes_inside_a_replica_count_as_far_as_order_allows() {
        let ordered = Demand { concurrency: 4, ..demand(300.0, 25.0) };
        assert!((ordered.busiest(6) - 0.5).abs() < 0.001, "two partitions, two lanes");
        let free = Demand { ordering: Ordering::None, ..ordered };
        assert!((free.busiest(6) - 0.25).abs() < 0.001, "four lanes");
    }

    proptest! {
        #[test]
        fn more_replicas_never_make_the_busiest_busier(
            partitions in 1_u32..200, total in 0.0_f64..10_000.0, hot in 0.0_f64..1.0, concurrency in 1_u32..8,
            ordering in prop::sample::select(vec![Ordering::Key, Ordering::None]), replicas in 1_u32..200,
        ) {
            let count = f64::from(partitions);
            let hottest = total * hot.max(1.0 / count);
            let demand = Demand { partitions, total, hottest, per_invocation: 10.0, concurrency, ordering };
            prop_assert!(demand.busiest(replicas + 1) <= demand.busiest(replicas) + 1e-9);
            prop_assert!(demand.hottest(replicas + 1) <= demand.hottest(replicas) + 1e-9);
            prop_assert!((demand.busiest(demand.as_good_as(replicas)) - demand.busiest(replicas)).abs() < 1e-9);
        }
    }
}
