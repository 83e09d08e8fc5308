//! Topic, group and pods: records arrive, pods start, join, work and leave, and each change of
//! membership is a cooperative rebalance that stops only the partitions it moves.
//!
//! No record is lost or made: what arrived was answered or is waiting.

use super::{Conditions, STEP, Seen, assignment::sticky, partition::Partition};
use std::time::Duration;

/// The world at one moment.
#[derive(Clone, Debug)]
pub struct World {
    conditions: Conditions,
    now: Duration,
    partitions: Vec<Partition>,
    pods: Vec<Pod>,
    pods_ever: u64,
    answered: u64,
    busy: Duration,
    rebalances: u32,
    turn: usize,
}

#[derive(Clone, Debug)]
struct Pod {
    name: u64,
    joins: Duration,
    member: bool,
    /// Time already spent on the record in work.
    spent: Duration,
}

impl World {
    /// A world without records, with so many pods at work.
    #[must_use]
    pub fn new(conditions: Conditions, pods: u32) -> Self {
        let mut world = Self {
            conditions,
            now: Duration::ZERO,
            partitions: vec![Partition::default(); conditions.partitions],
            pods: Vec::new(),
            pods_ever: 0,
            answered: 0,
            busy: Duration::ZERO,
            rebalances: 0,
            turn: 0,
        };
        world.scale(pods);
        for pod in &mut world.pods {
            pod.member = true;
        }
        world.assign(Duration::ZERO);
        world
    }

    /// Asks for so many pods. New ones take their time; the newest leave at once.
    pub fn scale(&mut self, wanted: u32) {
        let wanted = wanted as usize;
        while self.pods.len() < wanted {
            let joins = self.now + self.conditions.pod_start;
            self.pods.push(Pod { name: self.pods_ever, joins, member: false, spent: Duration::ZERO });
            self.pods_ever += 1;
        }
        if self.pods.len() > wanted {
            let left = self.pods.split_off(wanted);
            if left.iter().any(|pod| pod.member) {
                self.rebalance();
            }
        }
    }

    /// Moves on by one [`STEP`]: `arrivals` for each partition; the records of `failing` are
    /// retried without end, so that its head blocks.
    ///
    /// What arrives is worked off in the next step at the earliest. As long is half of the interval
    /// between commits, so a group that keeps up is seen with the lag that it would have.
    pub fn step(&mut self, arrivals: &[u64], failing: Option<usize>) {
        let mut joined = false;
        for pod in self.pods.iter_mut().filter(|pod| !pod.member && pod.joins <= self.now) {
            pod.member = true;
            joined = true;
        }
        if joined {
            self.rebalance();
        }
        for index in 0..self.pods.len() {
            self.work(index, failing);
        }
        for (partition, records) in self.partitions.iter_mut().zip(arrivals) {
            partition.arrive(self.now, *records);
        }
        self.turn += 1;
        self.now += STEP;
    }

    /// Lets one pod work for a step, evenly over those of its partitions that have work.
    fn work(&mut self, index: usize, failing: Option<usize>) {
        let Some(pod) = self.pods.get_mut(index).filter(|pod| pod.member) else { return };
        let now = self.now;
        let mut mine: Vec<&mut Partition> = self
            .partitions
            .iter_mut()
            .enumerate()
            .filter(|(number, partition)| {
                partition.owner == Some(pod.name) && partition.still_until <= now && failing != Some(*number)
            })
            .map(|(_, partition)| partition)
            .filter(|partition| partition.waiting() > 0)
            .collect();
        if mine.is_empty() {
            pod.spent = Duration::ZERO;
            return;
        }
        let time = STEP + pod.spent;
        let possible = (time.as_nanos() / self.conditions.handler.as_nanos()) as u64;
        let first = self.turn % mine.len();
        mine.rotate_left(first);
        let mut left = possible;
        while left > 0 && !mine.is_empty() {
            let share = (left / mine.len() as u64).max(1);
            for partition in &mut mine {
                left -= partition.take(share.min(left));
            }
            mine.retain(|partition| partition.waiting() > 0);
        }
        let done = possible - left;
        let worked = self.conditions.handler * u32::try_from(done).unwrap_or(u32::MAX);
        // Time without a record cannot be saved up.
        pod.spent = if mine.is_empty() { Duration::ZERO } else { time.saturating_sub(worked) };
        self.answered += done;
        self.busy += worked;
    }

    fn rebalance(&mut self) {
        self.rebalances += 1;
        self.assign(self.now + self.conditions.rebalance);
    }

    fn assign(&mut self, still_until: Duration) {
        let members: Vec<u64> = self.pods.iter().filter(|pod| pod.member).map(|pod| pod.name).collect();
        let owners: Vec<Option<u64>> = self.partitions.iter().map(|partition| partition.owner).collect();
        for (partition, owner) in self.partitions.iter_mut().zip(sticky(&owners, &members)) {
            if partition.owner != owner {
                partition.owner = owner;
                partition.still_until = still_until;
            }
        }
    }

    /// What a scaler can measure now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            now: self.now,
            lags: self.partitions.iter().map(Partition::waiting).collect(),
            ends: self.partitions.iter().map(Partition::end).collect(),
            asked: u32::try_from(self.pods.len()).unwrap_or(u32::MAX),
            ready: u32::try_from(self.pods.iter().filter(|pod| pod.member).count()).unwrap_or(u32::MAX),
            answered: self.answered,
            busy: self.busy,
        }
    }

    /// How often the group was rebalanced.
    #[must_use]
    pub fn rebalances(&self) -> u32 {
        self.rebalances
    }

    /// How long the record that has waited longest has waited.
    #[must_use]
    pub fn oldest(&self) -> Duration {
        self.partitions.iter().map(|partition| partition.oldest(self.now)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::World;
    use crate::simulator::Conditions;
    use proptest::prelude::*;
    use std::time::Duration;

    const NOTHING: [u64; 12] = [0; 12];

    fn world(pods: u32) -> World {
        World::new(Conditions::default(), pods)
    }

    fn steps(world: &mut World, count: u32) {
        for _ in 0..count {
            world.step(&NOTHING, None);
        }
    }

    #[test]
    fn a_pod_works_off_its_capacity_and_no_more() {
        for (pods, handler, seconds, expected) in
            [(1, 20, 60, 3000), (1, 30, 60, 2000), (1, 70, 70, 1000), (1, 250, 60, 240), (3, 20, 60, 9000)]
        {
            let conditions = Conditions { handler: Duration::from_millis(handler), ..Conditions::default() };
            let mut world = World::new(conditions, pods);
            world.step(&[10_000; 12], None);
            steps(&mut world, seconds * 10);
            assert_eq!(world.seen().answered, expected, "{pods} pods, {handler} ms");
            assert_eq!(world.seen().busy, conditions.handler * u32::try_from(expected).expect("small"));
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut world = world(1);
        steps(&mut world, 100);
        world.step(&[100; 12], None);
        assert_eq!(world.seen().lag(), 1_200);
        steps(&mut world, 1);
        assert_eq!(world.seen().answered, 5);
    }

    #[test]
    fn a_pod_joins_after_its_start_and_works_after_the_rebalance() {
        let mut world = world(0);
        world.scale(1);
        world.step(&[100; 12], None);
        steps(&mut world, 11);
        assert_eq!((world.seen().asked, world.seen().ready, world.rebalances()), (1, 0, 0));
        steps(&mut world, 10);
        assert_eq!((world.seen().ready, world.rebalances(), world.seen().answered), (1, 1, 0));
        steps(&mut world, 1);
        assert_eq!(world.seen().answered, 5);
    }

    #[test]
    fn a_rebalance_stalls_only_what_it_moves() {
        let mut world = world(1);
        world.scale(2);
        steps(&mut world, 11);
        world.step(&[100; 12], None);
        steps(&mut world, 10);
        let lags = world.seen().lags;
        let stalled: Vec<usize> = (0..12).filter(|partition| lags.get(*partition) == Some(&100)).collect();
        assert_eq!(stalled, [6, 7, 8, 9, 10, 11]);
        assert_eq!(world.seen().answered, 50, "the first pod went on with what it kept");
        world.scale(1);
        assert_eq!(world.rebalances(), 2, "a pod that leaves is a rebalance too");
    }

    #[test]
    fn a_pod_that_never_joined_leaves_without_a_rebalance() {
        let mut world = world(1);
        world.scale(5);
        world.scale(1);
        steps(&mut world, 50);
        assert_eq!((world.rebalances(), world.seen().ready), (0, 1));
    }

    #[test]
    fn a_failing_partition_blocks_alone() {
        let mut world = world(1);
        world.step(&[10; 12], Some(3));
        for _ in 0..100 {
            world.step(&NOTHING, Some(3));
        }
        assert_eq!((world.seen().lag(), world.seen().lags.get(3)), (10, Some(&10)));
        assert_eq!(world.oldest(), Duration::from_millis(10_100));
        steps(&mut world, 10);
        assert_eq!(world.seen().lag(), 0);
    }

    proptest! {
        #[test]
        fn records_are_neither_lost_nor_made(
            steps in prop::collection::vec((prop::collection::vec(0_u64..20, 12), 0_u32..13, prop::option::of(0_usize..12)), 1..200),
        ) {
            let mut world = world(2);
            let mut arrived = 0;
            for (arrivals, wanted, failing) in steps {
                arrived += arrivals.iter().sum::<u64>();
                world.step(&arrivals, failing);
                world.scale(wanted);
                let seen = world.seen();
                prop_assert_eq!(seen.ends.iter().sum::<u64>(), arrived);
                prop_assert_eq!(seen.answered + seen.lag(), arrived);
                prop_assert!(seen.ready <= seen.asked);
            }
        }
    }
}
