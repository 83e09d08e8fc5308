//! A run from its services to its end: started in order, looked after, stopped in reverse.

use super::{
    Up,
    companions::Companions,
    edited::Manifests,
    function::Function,
    lag::{LagWatch, Seen},
    schedule::{Clock, Progress},
    state::State,
    table::Board,
    topics,
};
use crate::{
    folder::Folder,
    program,
    services::{Need, Services},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};
use tidemill_api::{
    Function as Manifest,
    plan::{Plan, TriggerPlan},
};
use tidemill_kafka::{Connection, ensure_topics};
use tidemill_runner::{
    config::{Access, Code, Config, RegistryAccess},
    consumer,
    stats::Totals,
};
use tidemill_service::child::Launcher;
use tokio::{sync::watch, task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How often replicas are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often the table is drawn, in ticks.
const DRAW: u64 = 5;
/// How often the manifests are looked at, in ticks.
const EDITED: u64 = 20;
/// How often the disk space is looked at, in ticks.
const SPACE: u64 = 5;
/// How long fetches wait in the embedded broker: it looks for records again and again meanwhile, and
/// at the start of each fetch, so that ten times as many short ones cost four times the CPU time.
const EMBEDDED_FETCH_WAIT_MS: u64 = 500;
/// How long the embedded broker may give no answer before the run ends.
const BROKER_PATIENCE: Duration = Duration::from_secs(30);
/// How long, with `--once`, a function may fail to start before the run gives up.
const INIT_PATIENCE: Duration = Duration::from_secs(15);

/// A run.
pub struct Run<'a> {
    up: &'a Up,
    state: &'a State,
    services: Services,
    companions: Companions,
    functions: Vec<Function>,
    manifests: Manifests,
    /// For each function: its place in the lag watch, or its clock.
    sources: Vec<Source>,
    watch: LagWatch,
    edge: JoinHandle<Result<(), tidemill_edge::Error>>,
    edge_stop: CancellationToken,
    stop: CancellationToken,
    launcher: Launcher,
    failing_since: Option<Instant>,
    silent_since: Option<Instant>,
    settled: Option<Vec<Seen>>,
}

enum Source {
    Lag(usize),
    Clock { admin: watch::Sender<Option<String>>, progress: watch::Receiver<Progress>, task: JoinHandle<Result<()>> },
}

impl<'a> Run<'a> {
    /// Starts services, topics, companions, edge and clocks; replicas come with the load.
    pub async fn start(
        up: &'a Up,
        folder: Folder,
        manifests: Manifests,
        state: &'a State,
        stop: CancellationToken,
    ) -> Result<Self> {
        let plans: Vec<Plan> = folder.functions.iter().map(|(function, _)| Plan::of(function)).collect();
        for (function, place) in &folder.functions {
            program::find(function, place)?;
        }
        if up.services.kafka.is_none()
            && let Some(plan) = plans.iter().find(|plan| plan.exactly_once())
        {
            bail!(
                "function {}: spec.output.delivery: exactlyOnce needs transactions, which the embedded broker \
                 does not have: name a Kafka with --kafka HOST:PORT, or use atLeastOnce",
                plan.name
            );
        }
        let addr = if up.addr.starts_with(':') { format!("0.0.0.0{}", up.addr) } else { up.addr.clone() };
        let addr = addr.parse().with_context(|| format!("--addr `{}`: write `127.0.0.1:3002` or `:3002`", up.addr))?;
        let listener = tidemill_embedded::listen("the edge", addr, "--addr").await?;
        let services = Services::start(&up.services, &state.folder("")?, Need::All).await?;
        let connection = Connection::plaintext(&services.kafka);
        make_topics(&connection, &folder, &plans, services.kafka_is_embedded()).await?;
        for kafka in plans.iter().filter_map(Plan::kafka) {
            // Before anything is counted or consumed: a function at zero has its place too.
            consumer::begin(&connection, kafka).await?;
        }

        let names = BTreeMap::from([
            ("kafka".to_owned(), services.kafka.clone()),
            ("redis".to_owned(), services.redis.clone()),
            ("s3".to_owned(), services.s3.clone()),
        ]);
        let logs = state.folder("logs")?;
        let companions =
            Companions::start(&folder.local, &folder.path, &logs, &state.folder("ports")?, names, up.once).await?;

        // By this the runners keep failed records in S3, and functions find their services.
        let own = services.environment();
        let mut defaults = own.clone();
        for (name, value) in &folder.local.env {
            defaults.insert(name.clone(), crate::local::fill(value, &companions.values)?);
        }
        let registry = up.services.schema_registry.clone().map(|url| RegistryAccess { url, username: None });
        let named = folder.clusters.iter().find(|cluster| cluster.spec.schema_registry.is_some());
        if let (None, Some(cluster)) = (&registry, named) {
            up.say(&format!(
                "warning   KafkaCluster {}: spec.schemaRegistry is not used by `up`: name a registry with --schema-registry, or records stay as they are",
                cluster.metadata.name.as_deref().unwrap_or_default()
            ));
        }
        let configs = state.folder("run")?;
        let mut functions = Vec::new();
        for ((manifest, place), plan) in folder.functions.iter().zip(&plans) {
            let config = configs.join(format!("{}.json", plan.name));
            write_config(&config, manifest, place, plan, &services, registry.clone(), &defaults)?;
            functions.push(Function::new(plan.clone(), config, own.clone(), logs.join(format!("{}.log", plan.name))));
        }

        let edge_stop = CancellationToken::new();
        let redis = services.redis.parse().with_context(|| format!("`{}` is not a Redis URL", services.redis))?;
        let local = listener.local_addr()?;
        let edge = tidemill_edge::serve(tidemill_edge::Config::new(redis), listener, edge_stop.clone());
        let edge = tokio::spawn(edge);
        let (sources, watch) = sources(&plans, &connection, state, &stop)?;
        up.say(&format!("page      http://{local}/"));
        let instead: Vec<_> = folder.clusters.iter().filter_map(|cluster| cluster.metadata.name.as_deref()).collect();
        let instead = if instead.is_empty() {
            String::new()
        } else {
            format!(" (instead of KafkaCluster {})", instead.join(", "))
        };
        up.say(&format!("kafka     {}{instead}", services.kafka));
        up.say(&format!("redis     {}", services.redis));
        up.say(&format!("s3        {}", services.s3));
        up.say(&format!("logs      {}\n", logs.display()));
        Ok(Self {
            up,
            state,
            services,
            companions,
            functions,
            manifests,
            sources,
            watch,
            edge,
            edge_stop,
            stop,
            launcher: Launcher::current().context("this program's own path is unknown")?,
            failing_since: None,
            silent_since: None,
            settled: None,
        })
    }

    /// Looks after everything until told to stop or, with `--once`, until all is done.
    pub async fn until_done(&mut self) -> Result<()> {
        let mut ticks = interval(TICK);
        let mut board = Board::default();
        let mut count = 0_u64;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    if self.up.once {
                        bail!("stopped before all was done");
                    }
                    return Ok(());
                }
                _ = ticks.tick() => {}
            }
            let seen = self.watch.seen();
            self.look_after(&seen).await?;
            self.broker_answers(&seen)?;
            if count.is_multiple_of(SPACE) {
                self.state.can_go_on()?;
            }
            for line in self.functions.iter_mut().filter_map(Function::news) {
                if self.up.once || !board.is_drawn() {
                    self.up.say(&line);
                }
            }
            if !self.up.once
                && count.is_multiple_of(EDITED)
                && let Some(line) = self.manifests.news()
            {
                board.say(&line);
                board.draw(&self.functions);
            }
            if !self.up.once && count.is_multiple_of(DRAW) {
                board.draw(&self.functions);
            }
            if self.up.once {
                self.give_up_on_failing()?;
                if self.companions.sources_ended()? && self.clocks_done() && self.nothing_waits(seen) {
                    return Ok(());
                }
            }
            count += 1;
        }
    }

    /// Stops everything, and answers what each function did.
    pub async fn stop(mut self) -> Result<Vec<(String, Totals)>> {
        if !self.up.once {
            self.up.say("stopping …");
        }
        self.stop.cancel();
        self.companions.stop().await?;
        let mut totals = Vec::new();
        // All at once: without Kafka each may take its time.
        self.functions.iter_mut().for_each(Function::begin_to_stop);
        for function in &mut self.functions {
            totals.push((function.plan.name.clone(), function.stop().await));
        }
        drop(self.watch);
        self.edge_stop.cancel();
        match self.edge.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the edge has ended"),
            Err(error) => error!(%error, "the edge has panicked"),
        }
        self.services.stop().await?;
        info!("stopped");
        Ok(totals)
    }

    async fn look_after(&mut self, seen: &[Seen]) -> Result<()> {
        if self.services.revive().await? {
            warn!("redis-server had ended and was started again");
        }
        for (function, source) in self.functions.iter_mut().zip(&mut self.sources) {
            match source {
                Source::Lag(place) => function.observe(&seen[*place]),
                Source::Clock { admin, progress, task } => {
                    if task.is_finished() && !self.stop.is_cancelled() {
                        task.await.context("a clock has panicked")??;
                        bail!("the clock of {} has ended", function.plan.name);
                    }
                    function.demand(progress.borrow().due);
                    let ready = function.ready().map(|report| report.admin);
                    admin.send_if_modified(|address| {
                        *address != ready && {
                            *address = ready;
                            true
                        }
                    });
                }
            }
            function.reconcile(&self.launcher).await?;
        }
        if self.edge.is_finished() {
            bail!("the edge has ended: see the log");
        }
        Ok(())
    }

    /// The embedded broker ends for good where it meets an error that it did not expect, such as
    /// a disk that filled at once.
    fn broker_answers(&mut self, seen: &[Seen]) -> Result<()> {
        let silent =
            self.services.kafka_is_embedded() && !seen.is_empty() && seen.iter().all(|seen| seen.lag.is_none());
        if !silent {
            self.silent_since = None;
            return Ok(());
        }
        if self.silent_since.get_or_insert_with(Instant::now).elapsed() > BROKER_PATIENCE {
            bail!("the embedded broker gives no answer: see the log, and whether the disk is full; then run it again");
        }
        Ok(())
    }

    fn clocks_done(&self) -> bool {
        self.sources.iter().all(|source| match source {
            Source::Lag(_) => true,
            Source::Clock { progress, .. } => progress.borrow().done > 0,
        })
    }

    /// Whether no group has lag, now and in a look that began after this was first so, with no
    /// record produced in between: then nothing is under way either, since a record's outputs
    /// are produced before its offset is committed.
    fn nothing_waits(&mut self, seen: Vec<Seen>) -> bool {
        let done = |seen: &Seen| seen.lag.as_ref().is_some_and(|lag| lag.total() == 0);
        if !seen.iter().all(done) {
            self.settled = None;
            return false;
        }
        let Some(first) = &self.settled else {
            self.settled = Some(seen);
            return false;
        };
        let pairs = || first.iter().zip(&seen);
        if pairs().any(|(first, now)| first.lag != now.lag) {
            self.settled = Some(seen);
            return false;
        }
        pairs().all(|(first, now)| now.round >= first.round + 2)
    }

    fn give_up_on_failing(&mut self) -> Result<()> {
        let failing =
            self.functions.iter().find_map(|function| function.failing().map(|why| (&function.plan.name, why)));
        let Some((name, reason)) = failing else {
            self.failing_since = None;
            return Ok(());
        };
        if self.failing_since.get_or_insert_with(Instant::now).elapsed() > INIT_PATIENCE {
            bail!("function {name} does not start: {reason}");
        }
        Ok(())
    }
}

async fn make_topics(connection: &Connection, folder: &Folder, plans: &[Plan], embedded: bool) -> Result<()> {
    let brokers = if embedded {
        1
    } else {
        let asked = connection.clone();
        tokio::task::spawn_blocking(move || asked.metadata(None).map(|metadata| metadata.brokers().len()))
            .await?
            .with_context(|| format!("--kafka {}: no broker answers", connection.bootstrap()))?
    };
    let targets = topics::needed(folder, plans, i32::try_from(brokers).unwrap_or(1));
    ensure_topics(connection, &targets).await?;
    Ok(())
}

fn sources(
    plans: &[Plan],
    connection: &Connection,
    state: &State,
    stop: &CancellationToken,
) -> Result<(Vec<Source>, LagWatch)> {
    let mut watched = Vec::new();
    let mut sources = Vec::new();
    for plan in plans {
        sources.push(match &plan.trigger {
            TriggerPlan::Kafka(kafka) => {
                watched.push(kafka.clone());
                Source::Lag(watched.len() - 1)
            }
            TriggerPlan::Schedule(schedule) => {
                let file = state.folder("schedules")?.join(format!("{}.json", plan.name));
                let clock = Clock::new(plan.full_name(), schedule, file)?;
                let (admin, addresses) = watch::channel(None);
                let (report, progress) = watch::channel(Progress::default());
                let task = tokio::spawn(clock.run(addresses, report, stop.clone()));
                Source::Clock { admin, progress, task }
            }
        });
    }
    Ok((sources, LagWatch::start(connection.clone(), watched)))
}

fn write_config(
    file: &Path,
    manifest: &Manifest,
    place: &Path,
    plan: &Plan,
    services: &Services,
    registry: Option<RegistryAccess>,
    defaults: &BTreeMap<String, String>,
) -> Result<()> {
    let program = program::find(manifest, place)?;
    let fetch_wait_ms = services.kafka_is_embedded().then_some(EMBEDDED_FETCH_WAIT_MS);
    let config = Config {
        plan: plan.clone(),
        bootstrap_servers: services.kafka.clone(),
        access: Access { registry, fetch_wait_ms, ..Access::default() },
        output: None,
        code: Code::Program { command: program.command, directory: Some(program.directory) },
        environment: program::environment(manifest, defaults)?,
        inherit: false,
    };
    std::fs::write(file, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("failed to write {}", file.display()))
}
