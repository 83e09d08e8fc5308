//! One function of the run: its replicas, its load, and how many it should have.

use super::{lag::Seen, replica::Replica};
use anyhow::Result;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use tidemill_api::plan::Plan;
use tidemill_autoscaler::{Decision, Look, Partition, Rest, Rules, Tracker, Work};
use tidemill_runner::{consumer, report::Report, stats::Totals};
use tidemill_service::child::Launcher;
use tokio::task::JoinSet;
use tracing::{info, warn};

/// Pauses before a replica that ended by itself is started again: doubled up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a replica has to end when its partitions are given back.
const GRACE: Duration = Duration::from_secs(10);

/// A function of the run.
#[derive(Debug)]
pub struct Function {
    /// How it runs.
    pub plan: Plan,
    /// Its runner's configuration.
    pub config: PathBuf,
    /// Variables of its runners.
    pub environment: BTreeMap<String, String>,
    /// Its log.
    pub log: PathBuf,
    /// Why this many replicas.
    pub reason: String,
    /// Records waiting; `None` while unknown.
    pub lag: Option<u64>,
    tracker: Tracker,
    rules: Rules,
    rest: Rest,
    /// Looks are told by the time since then.
    origin: Instant,
    wanted: usize,
    replicas: Vec<Replica>,
    stopping: JoinSet<Totals>,
    ended: Totals,
    round: u64,
    pause: Duration,
    not_before: Option<Instant>,
    /// The failure to start that was told last, while it lasts.
    told: Option<String>,
}

impl Function {
    /// A function without replicas.
    #[must_use]
    pub fn new(plan: Plan, config: PathBuf, environment: BTreeMap<String, String>, log: PathBuf) -> Self {
        let rules = Rules {
            scaling: plan.scaling.clone(),
            ordering: plan.kafka().map(|kafka| kafka.ordering).unwrap_or_default(),
            concurrency: plan.concurrency,
        };
        Self {
            plan,
            rules,
            rest: Rest::default(),
            origin: Instant::now(),
            config,
            environment,
            log,
            reason: "starting".to_owned(),
            lag: None,
            tracker: Tracker::default(),
            wanted: 0,
            replicas: Vec::new(),
            stopping: JoinSet::new(),
            ended: Totals::default(),
            round: 0,
            pause: PAUSES.0,
            not_before: None,
            told: None,
        }
    }

    /// Records arriving a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.tracker.rate()
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

    /// A line where it has changed whether, or why, the function cannot start.
    pub fn news(&mut self) -> Option<String> {
        let name = &self.plan.name;
        match (self.failing(), &self.told) {
            (Some(reason), told) if told.as_ref() != Some(&reason) => {
                warn!(function = name, reason, "the function cannot start");
                let line = format!("{name}: cannot start: {reason}");
                self.told = Some(reason);
                Some(line)
            }
            // Between two replicas that fail, nothing is known.
            (None, Some(_)) if self.replicas.is_empty() || self.ready().is_some() => {
                let how = if self.replicas.is_empty() { "is not tried any more" } else { "has started" };
                info!(function = name, "the function {how}");
                let line = format!("{name}: {how}");
                self.told = None;
                Some(line)
            }
            _ => None,
        }
    }

    /// Takes in what was seen of its group and decides how many replicas it should have.
    pub fn observe(&mut self, seen: &Seen) {
        if self.plan.kafka().is_none() || seen.round == self.round {
            return;
        }
        self.round = seen.round;
        self.lag = seen.lag.as_ref().map(|lag| lag.total().unsigned_abs());
        let Totals { answered, busy_seconds, .. } = self.totals();
        let partition = |lag: i64, end| Partition { lag: lag.unsigned_abs(), end };
        let partitions = seen.lag.as_ref().map(|lag| lag.partitions.iter().map(|one| partition(one.lag(), one.end)));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let look = Look {
            at: seen.at.unwrap_or_else(Instant::now).duration_since(self.origin),
            partitions: partitions.map(Iterator::collect),
            replicas: count(self.replicas.len()),
            ready: count(self.replicas.iter().filter(|replica| replica.report().ready).count()),
            work: Work { answered, busy_seconds },
        };
        let Decision { replicas, reason } = self.tracker.observe(&look, &self.rules);
        self.reason = reason;
        self.set(replicas as usize);
    }

    /// Asks for this many replicas under a schedule: one while an event is due, none after the
    /// cooldown.
    pub fn demand(&mut self, due: bool) {
        self.reason = if due { "an event is due" } else { "no event is due" }.to_owned();
        let rested = self.rest.rested(self.origin.elapsed(), due, self.plan.scaling.cooldown.get());
        if due {
            self.set(1);
        } else if rested {
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
            self.replicas.push(Replica::start(launcher, &self.config, &self.environment, &self.log)?);
            info!(function = self.plan.name, replicas = self.replicas.len(), reason = self.reason, "replica started");
        }
        if self.ready().is_some() {
            self.pause = PAUSES.0;
        }
        Ok(())
    }

    /// Tells all replicas to stop.
    pub fn begin_to_stop(&mut self) {
        self.set(0);
    }

    /// Stops all replicas and answers what was done in the run.
    pub async fn stop(&mut self) -> Totals {
        self.begin_to_stop();
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
        let patience = consumer::longest_drain(self.plan.timeout) + GRACE;
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
