//! A runner from start to end: processes, trigger, admin listener, report, drain.

use crate::{
    archive::Archive,
    config::{self, Code, Config, prefixes},
    consumer,
    decode::Decoder,
    encode::Encoder,
    joining, metrics,
    output::KafkaSink,
    package,
    pipeline::Pipeline,
    pool::{Pool, Source},
    process::Bootstrap,
    report, schedule,
    shared::Shared,
    stats::Stats,
};
use anyhow::{Context, Result, bail};
use axum::{Router, routing::get};
use clap::Parser;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tidemill_api::{
    Delivery,
    plan::{FailurePlan, Plan, TriggerPlan},
};
use tidemill_filter::Filters;
use tidemill_schemas::Registry;
use tidemill_service::{
    admin::{self, Readiness},
    child::Launcher,
    logging, shutdown,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long a runner that has drained waits to be asked whether it has.
const LINGER: Duration = Duration::from_secs(2);

/// Run one function: consume its topics, serve it the Lambda Runtime API, produce its answers.
#[derive(Debug, Parser)]
pub struct Args {
    /// The JSON file that says what to run.
    #[arg(long, env = "TIDEMILL_CONFIG", required_unless_present = "config_json")]
    pub config: Option<PathBuf>,
    /// The same as a text instead of a file.
    #[arg(long, env = "TIDEMILL_CONFIG_JSON", hide_env_values = true, conflicts_with = "config")]
    pub config_json: Option<String>,
    /// Where packages are unpacked.
    #[arg(long, env = "TIDEMILL_PACKAGES", default_value = "/tmp/tidemill-packages")]
    pub packages: PathBuf,
    /// Where /live, /ready and /metrics are served; port 0 takes a free one.
    #[arg(long, env = "TIDEMILL_ADMIN_ADDR", default_value = "127.0.0.1:0")]
    pub admin_addr: SocketAddr,
    /// Whoever started several runners at once is asked there when to join the consumer group.
    #[arg(long, env = "TIDEMILL_JOIN_URL", hide = true)]
    pub join_url: Option<String>,
    /// Write a JSON line to standard output for each change of what was done.
    #[arg(long)]
    pub report: bool,
    /// json or text.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: logging::Format,
    /// error, warn, info, debug or trace.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Runs until a signal says to stop.
///
/// # Errors
/// When the configuration cannot be carried out, or the runner must be started again.
pub async fn run(args: Args) -> Result<()> {
    let config = args.config()?;
    // First of all: a function in a container of its own may call as soon as this runs.
    let api = match &config.code {
        Code::Image { api } => {
            Some(TcpListener::bind(api).await.with_context(|| format!("failed to listen on {api}"))?)
        }
        Code::Program { .. } | Code::Package(_) => None,
    };
    logging::init(args.log_format, &args.log_level)?;
    tidemill_service::metrics::describe(metrics::ALL);
    config::supported(&config.plan)?;
    // Draining ends the work and not the process: its own token, so that a signal after it is
    // the first.
    let stop = shutdown::on_signal().child_token();
    let failed = CancellationToken::new();
    let readiness = Readiness::default();
    // Fetching a package takes its time: whoever watches sees nobody listen yet.
    let source = source(&config, api, &args.packages).await?;
    let listener =
        TcpListener::bind(args.admin_addr).await.with_context(|| format!("failed to listen on {}", args.admin_addr))?;
    let admin_addr = listener.local_addr()?.to_string();

    let connection = config.access.connect(&config.bootstrap_servers, prefixes::TRIGGER)?;
    let prompt = config.plan.kafka().is_some_and(|kafka| kafka.batch.window.get().is_zero());
    let sink = |connection: &_| if prompt { KafkaSink::prompt(connection) } else { KafkaSink::new(connection) };
    let dead_letters = Arc::new(sink(&connection)?);
    let outputs = match &config.output {
        Some(other) => Arc::new(sink(&other.access.connect(&other.bootstrap_servers, prefixes::OUTPUT)?)?),
        None => dead_letters.clone(),
    };
    let registry = config.access.registry(prefixes::TRIGGER).context("no way to the schema registry")?;
    let output_registry = match &config.output {
        Some(other) => other.access.registry(prefixes::OUTPUT).context("no way to the output's schema registry")?,
        None => registry.clone(),
    };
    let pipeline = Arc::new(Pipeline {
        pool: Pool::start(source, config.plan.concurrency, config.plan.timeout, &readiness)
            .context("the Runtime API cannot be served")?,
        outputs,
        dead_letters,
        archive: archive(&config.plan)?,
        decoder: decoder(&config.plan, registry.as_ref()),
        encoder: encoder(&config.plan, output_registry),
        filters: filters(&config.plan)?,
        shared: shared(&config.plan),
        stats: Arc::new(Stats::default()),
        bootstrap_servers: config.bootstrap_servers.clone(),
        plan: config.plan.clone(),
    });
    let reported = CancellationToken::new();
    let reporter = args.report.then(|| {
        let (totals, health) = (pipeline.stats.watch(), pipeline.pool.health());
        tokio::spawn(report::write(admin_addr.clone(), totals, health, reported.clone()))
    });
    let health = pipeline.pool.health();
    let (drained, told, closing) = <(CancellationToken, CancellationToken, CancellationToken)>::default();
    let mut routes = admin::routes(readiness.clone())
        .merge(report::route(admin_addr.clone(), pipeline.stats.clone(), health))
        .merge(drain_route(stop.clone(), drained.clone(), told.clone()));
    if matches!(config.plan.trigger, TriggerPlan::Schedule(_)) {
        routes = routes.merge(schedule::route(pipeline.clone(), stop.clone()));
    }
    let server = axum::serve(listener, routes).with_graceful_shutdown(closing.clone().cancelled_owned());
    let server = tokio::spawn(async move { server.await });
    info!(function = config.plan.full_name(), admin = admin_addr, "runner started");

    match &config.plan.trigger {
        TriggerPlan::Kafka(kafka) => {
            let may_join = CancellationToken::new();
            let waiting = joining::may_join(pipeline.pool.health(), args.join_url.clone());
            let opened = may_join.clone();
            tokio::spawn(async move {
                waiting.await;
                opened.cancel();
            });
            consumer::run(&connection, kafka, pipeline.clone(), may_join, stop.clone(), failed.clone()).await?;
        }
        TriggerPlan::Schedule(_) => stop.cancelled().await,
    }
    readiness.set(false);
    drained.cancel();
    if matches!(config.code, Code::Image { .. }) && stop.is_cancelled() {
        // The function's container is stopped at the same time, and asks before.
        drop(timeout(LINGER, told.cancelled()).await);
    }
    closing.cancel();
    // Under a schedule, the firing in flight is a request: the server ends after it.
    server.await.context("the admin listener has panicked")?.context("the admin listener failed")?;
    pipeline.pool.stop().await;
    // What the producers still have, nobody waits for: its input was not committed, and whoever has it
    // now produces the same. It is not sent.
    reported.cancel();
    if let Some(reporter) = reporter {
        reporter.await.context("the reporter has panicked")?;
    }
    if failed.is_cancelled() {
        bail!("the runner cannot go on, as logged before; start it again");
    }
    info!("runner stopped");
    Ok(())
}

/// `/drain`: stop taking records, finish, commit, leave the group; answered when that is done.
///
/// A pod's function container calls it before it is stopped, so that what is in flight ends
/// while the function is still there.
fn drain_route(stop: CancellationToken, drained: CancellationToken, told: CancellationToken) -> Router {
    let drain = move || async move {
        stop.cancel();
        drained.cancelled().await;
        told.cancel();
        "drained\n"
    };
    Router::new().route("/drain", get(drain.clone()).post(drain))
}

impl Args {
    fn config(&self) -> Result<Config> {
        let (text, place) = match (&self.config, &self.config_json) {
            (Some(file), _) => {
                let text = std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
                (text, file.display().to_string())
            }
            (None, Some(text)) => (text.clone().into_bytes(), "TIDEMILL_CONFIG_JSON".to_owned()),
            (None, None) => bail!("name the configuration with --config"),
        };
        serde_json::from_slice(&text).with_context(|| format!("{place} is not a runner's configuration"))
    }
}

/// The filter of a plan.
///
/// # Errors
/// When it is none: then the manifest was not checked.
pub fn filters(plan: &Plan) -> Result<Filters> {
    let patterns = plan.kafka().map(|kafka| kafka.filter.as_slice()).unwrap_or_default();
    Filters::compile(patterns).context("spec.trigger.kafka.filter is not understood")
}

fn decoder(plan: &Plan, registry: Option<&Arc<Registry>>) -> Option<Decoder> {
    let parts = &plan.kafka()?.decode;
    registry.filter(|_| !parts.is_empty()).map(|registry| Decoder::new(registry.clone(), parts))
}

fn encoder(plan: &Plan, registry: Option<Arc<Registry>>) -> Option<Encoder> {
    let (output, registry) = (plan.output.as_ref()?, registry?);
    Some(Encoder::new(registry, std::iter::once(&output.topic).chain(&output.allowed_topics)))
}

fn shared(plan: &Plan) -> Option<Arc<Shared>> {
    let batch = plan.kafka()?.batch.clone();
    // A transaction is of one partition.
    let bound = plan.output.as_ref().is_some_and(|output| output.delivery == Delivery::ExactlyOnce);
    (batch.span_partitions && !bound).then(|| Shared::new(batch))
}

fn archive(plan: &Plan) -> Result<Option<Archive>> {
    let FailurePlan::S3(destination) = &plan.on_failure else { return Ok(None) };
    Archive::new(destination, plan.full_name())
        .map(Some)
        .with_context(|| format!("no way to the bucket {}", destination.bucket))
}

async fn source(config: &Config, api: Option<TcpListener>, packages: &Path) -> Result<Source> {
    let plan = &config.plan;
    let (command, directory) = match &config.code {
        Code::Image { api: address } => {
            let listener = api.with_context(|| format!("{address} is not listened on"))?;
            return Ok(Source::Image { listener, function: plan.name.clone() });
        }
        Code::Program { command, directory } => (command.clone(), directory.clone()),
        Code::Package(object) => {
            let folder = package::ready(object, packages).await?;
            (package::command(&folder), Some(folder))
        }
    };
    let mut environment = config.environment.clone();
    if config.inherit {
        let own = std::env::vars().filter(|(name, _)| !name.starts_with("TIDEMILL_"));
        environment.extend(own);
    }
    Ok(Source::Program(Bootstrap {
        command: command.into_iter().map(Into::into).collect(),
        directory,
        environment,
        launcher: Launcher::current().context("this program's own path is unknown")?,
        function: plan.name.clone(),
        handler: plan.handler.clone(),
        memory_mib: plan.memory_mib,
    }))
}
