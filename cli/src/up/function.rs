//! One function of the run: its replicas, its load, and how many it should have.

use super::{lag::Seen, replica::Replica};
use anyhow::Result;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tidemill_api::plan::Plan;
use tidemill_autoscaler::{Decision, Observation, decide};
use tidemill_runner::{report::Report, stats::Totals};
use tidemill_service::child::Launcher;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Pauses before a replica that ended by itself is started again: doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The span over which arrivals are averaged.
const RATE_SPAN: f64 = 5.0;

/// A function of the run.
#[derive(Debug)]
pub struct Function {
    /// How it runs.
    pub plan: Plan,
    /// Its runner's configuration.
    pub config: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Why this many replicas.
    pub reason: String,
    /// Records waiting; `None` while unknown.
    pub lag: Option<u64>,
    /// Records arriving a second.
    pub rate: f64,
    wanted: usize,
    replicas: Vec<Replica>,
    stopping: JoinSet<Totals>,
    ended: Totals,
    last_seen: Option<(Instant, i64)>,
    round: u64,
    quiet_since: Option<Instant>,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Function {
    /// A function without replicas.
    #[must_use]
    pub fn new(plan: Plan, config: PathBuf, log: PathBuf) -> Self {
        Self {
            plan,
            config,
            log,
            reason: "starting".to_owned(),
            lag: None,
            rate: 0.0,
            wanted: 0,
            replicas: Vec::new(),
            stopping: JoinSet::new(),
            ended: Totals::default(),
            last_seen: None,
            round: 0,
            quiet_since: None,
            pause: PAUSES.0,
            not_before: None,
        }
    }

    /// Replicas there are.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// What was done so far, by all replicas of the run.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.ended;
        for replica in &self.replicas {
            totals += replica.report().totals;
        }
        totals
    }

    /// The first replica that is ready, for a schedule to post to.
    #[must_use]
    pub fn ready(&self) -> Option<Report> {
        self.replicas.iter().map(Replica::report).find(|report| report.ready)
    }

    /// Why the function cannot be started, where that is so.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        self.replicas.iter().find_map(|replica| replica.report().failing)
    }

    /// Takes in what was seen of its group and decides how many replicas it should have.
    pub fn observe(&mut self, seen: &Seen) {
        let Some(kafka) = self.plan.kafka() else { return };
        if seen.round == self.round {
            return;
        }
        self.round = seen.round;
        self.lag = seen.lag.as_ref().map(|lag| lag.total().unsigned_abs());
        let mut arrived = false;
        if let (Some(lag), Some(at)) = (&seen.lag, seen.at) {
            let end: i64 = lag.partitions.iter().map(|partition| partition.end).sum();
            if let Some((before, last)) = self.last_seen {
                arrived = end > last;
                let seconds = at.duration_since(before).as_secs_f64().max(0.001);
                let rate = (end - last).max(0) as f64 / seconds;
                let weight = 1.0 - (-seconds / RATE_SPAN).exp();
                self.rate += (rate - self.rate) * weight;
            }
            self.last_seen = Some((at, end));
        }
        let totals = self.totals();
        let capacity = (totals.busy_seconds > 0.05)
            .then(|| totals.answered as f64 / totals.busy_seconds * f64::from(self.plan.concurrency));
        let observation = Observation {
            lag: self.lag,
            arrival_rate: self.rate,
            arrived,
            capacity_per_replica: capacity,
            partitions: seen.lag.as_ref().map_or(1, |lag| u32::try_from(lag.partitions.len()).unwrap_or(u32::MAX)),
            replicas: u32::try_from(self.replicas.len()).unwrap_or(u32::MAX),
            quiet: self.quiet_since.map_or(Duration::ZERO, |since| since.elapsed()),
        };
        let ordering = kafka.ordering;
        let Decision { replicas, needed, reason } = decide(&observation, &self.plan.scaling, ordering);
        if (needed as usize) < self.replicas.len() {
            self.quiet_since.get_or_insert_with(Instant::now);
        } else {
            self.quiet_since = None;
        }
        self.reason = reason;
        self.set(replicas as usize);
    }

    /// Asks for this many replicas under a schedule: one while an event is due, none after the
    /// cooldown.
    pub fn demand(&mut self, due: bool) {
        if due {
            self.quiet_since = None;
            self.reason = "an event is due".to_owned();
            self.set(1);
            return;
        }
        let quiet = self.quiet_since.get_or_insert_with(Instant::now).elapsed();
        self.reason = "no event is due".to_owned();
        if quiet >= self.plan.scaling.cooldown.get() {
            self.set(self.plan.scaling.min as usize);
        }
    }

    /// Starts what is missing; call it often.
    ///
    /// # Errors
    /// When a runner cannot be started at all.
    pub async fn reconcile(&mut self, launcher: &Launcher) -> Result<()> {
        while let Some(totals) = self.stopping.try_join_next() {
            self.ended += totals?;
        }
        let mut index = 0;
        while index < self.replicas.len() {
            let Some(status) = self.replicas[index].ended()? else {
                index += 1;
                continue;
            };
            let replica = self.replicas.swap_remove(index);
            self.ended += replica.totals().await;
            warn!(function = self.plan.name, %status, retry_in = ?self.pause, "a replica has ended by itself");
            self.not_before = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(PAUSES.1);
        }
        if self.not_before.is_some_and(|time| time <= Instant::now()) {
            self.not_before = None;
        }
        while self.replicas.len() < self.wanted && self.not_before.is_none() {
            self.replicas.push(Replica::start(launcher, &self.config, &self.log)?);
            info!(function = self.plan.name, replicas = self.replicas.len(), reason = self.reason, "replica started");
        }
        if self.ready().is_some() {
            self.pause = PAUSES.0;
        }
        Ok(())
    }

    /// Stops all replicas and answers what was done in the run.
    pub async fn stop(&mut self) -> Totals {
        self.set(0);
        while let Some(totals) = self.stopping.join_next().await {
            match totals {
                Ok(totals) => self.ended += totals,
                Err(error) => warn!(%error, "stopping a replica has failed"),
            }
        }
        self.ended
    }

    fn set(&mut self, replicas: usize) {
        self.wanted = replicas;
        let patience = self.plan.timeout + Duration::from_secs(10);
        while self.replicas.len() > replicas {
            if let Some(replica) = self.replicas.pop() {
                info!(
                    function = self.plan.name,
                    replicas = self.replicas.len(),
                    reason = self.reason,
                    "replica stopping"
                );
                self.stopping.spawn(replica.stop(patience));
            }
        }
    }
}
