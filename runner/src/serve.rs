//! A runner from start to end: processes, trigger, admin listener, report, drain.

use crate::{
    config::{self, Config},
    consumer,
    output::KafkaSink,
    pipeline::Pipeline,
    pool::Pool,
    process::Bootstrap,
    report, schedule,
    stats::Stats,
};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tidemill_api::plan::TriggerPlan;
use tidemill_kafka::Connection;
use tidemill_service::{
    admin::{self, Readiness},
    child::Launcher,
    logging, shutdown,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Run one function: consume its topics, serve it the Lambda Runtime API, produce its answers.
#[derive(Debug, Parser)]
pub struct Args {
    /// The JSON file that says what to run.
    #[arg(long, env = "TIDEMILL_CONFIG")]
    pub config: PathBuf,
    /// Where /live, /ready and /metrics are served; port 0 takes a free one.
    #[arg(long, env = "TIDEMILL_ADMIN_ADDR", default_value = "127.0.0.1:0")]
    pub admin_addr: SocketAddr,
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
    logging::init(args.log_format, &args.log_level)?;
    let text = std::fs::read(&args.config).with_context(|| format!("failed to read {}", args.config.display()))?;
    let config: Config = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a runner's configuration", args.config.display()))?;
    config::supported(&config.plan)?;
    let stop = shutdown::on_signal();
    let failed = CancellationToken::new();
    let readiness = Readiness::default();
    let listener =
        TcpListener::bind(args.admin_addr).await.with_context(|| format!("failed to listen on {}", args.admin_addr))?;
    let admin_addr = listener.local_addr()?.to_string();

    let connection = Connection::plaintext(&config.bootstrap_servers);
    let dead_letters = Arc::new(KafkaSink::new(&connection)?);
    let outputs = match &config.output_servers {
        Some(servers) if *servers != config.bootstrap_servers => {
            Arc::new(KafkaSink::new(&Connection::plaintext(servers))?)
        }
        _ => dead_letters.clone(),
    };
    let pipeline = Arc::new(Pipeline {
        pool: Pool::start(bootstrap(&config)?, config.plan.concurrency, config.plan.timeout, &readiness),
        outputs,
        dead_letters,
        stats: Arc::new(Stats::default()),
        bootstrap_servers: config.bootstrap_servers.clone(),
        plan: config.plan.clone(),
    });
    let reported = CancellationToken::new();
    let reporter = args.report.then(|| {
        let (totals, health) = (pipeline.stats.watch(), pipeline.pool.health());
        tokio::spawn(report::write(admin_addr.clone(), totals, health, reported.clone()))
    });
    let mut routes = admin::routes(readiness.clone());
    if matches!(config.plan.trigger, TriggerPlan::Schedule(_)) {
        routes = routes.merge(schedule::route(pipeline.clone(), stop.clone()));
    }
    let drained = CancellationToken::new();
    let server = axum::serve(listener, routes).with_graceful_shutdown(drained.clone().cancelled_owned());
    let server = tokio::spawn(async move { server.await });
    info!(function = config.plan.full_name(), admin = admin_addr, "runner started");

    match &config.plan.trigger {
        TriggerPlan::Kafka(kafka) => {
            consumer::run(&connection, kafka, pipeline.clone(), stop.clone(), failed.clone()).await?;
        }
        TriggerPlan::Schedule(_) => stop.cancelled().await,
    }
    readiness.set(false);
    drained.cancel();
    // Under a schedule, the firing in flight is a request: the server ends after it.
    server.await.context("the admin listener has panicked")?.context("the admin listener failed")?;
    pipeline.pool.stop().await;
    let flushed = pipeline.clone();
    tokio::task::spawn_blocking(move || {
        flushed.outputs.flush();
        flushed.dead_letters.flush();
    })
    .await
    .context("flushing has panicked")?;
    reported.cancel();
    if let Some(reporter) = reporter {
        reporter.await.context("the reporter has panicked")?;
    }
    if failed.is_cancelled() {
        bail!("the producer has failed for good; start the runner again");
    }
    info!("runner stopped");
    Ok(())
}

fn bootstrap(config: &Config) -> Result<Bootstrap> {
    let plan = &config.plan;
    Ok(Bootstrap {
        command: config.command.iter().map(Into::into).collect(),
        directory: config.directory.clone(),
        environment: config.environment.clone(),
        launcher: Launcher::current().context("this program's own path is unknown")?,
        function: plan.name.clone(),
        handler: plan.handler.clone(),
        memory_mib: plan.memory_mib,
    })
}
