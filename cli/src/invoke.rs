//! `tidemill invoke`: one Lambda event, or records through the real runner, without Kafka.

use crate::{
    folder::{self, Folder},
    program,
    services::{Need, ServiceArgs, Services},
};
use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tidemill_api::{
    Function, Ordering,
    plan::{Plan, TriggerPlan},
};
use tidemill_runner::{
    entry::Entry,
    lanes::{Batch, Lanes},
    output::{self, Sink},
    pipeline::{Pipeline, whole},
    pool::{Pool, Source},
    process::Bootstrap,
    record::{OutRecord, Record},
    serve::filters,
    stats::{Counted, Stats, Tally},
    turn::Turn,
};
use tidemill_service::{admin::Readiness, child::Launcher, shutdown};

/// Invoke a function with one event, or with records through the real runner.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidemill invoke normalize --records pages.ndjson > articles.ndjson\n  echo '{\"any\": \"JSON\"}' | tidemill invoke my-function --event -\n\nA record is {\"topic\", \"key\", \"value\": JSON or text | \"valueBase64\", \"headers\", \"timestamp\"}, one a line.\nDead letters are written like outputs, with their topic (none where they go to S3) and headers. There is no schema registry: values are what the\nfunction gets, and records of several partitions and topics may share an event."
)]
pub struct Invoke {
    /// The function's name
    name: String,
    /// A Lambda event as JSON; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "records")]
    event: Option<PathBuf>,
    /// Records as NDJSON; `-` reads standard input. Outputs go to standard output as NDJSON
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// The folder with the manifests [default: this one, or the one folder of examples/ that has it]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A running Redis, instead of a fresh one
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// A running S3, instead of a fresh one
    #[arg(long, value_name = "URL")]
    s3: Option<String>,
    /// error, warn, info, debug or trace, on standard error
    #[arg(long, env = "LOG_LEVEL", default_value = "error")]
    log_level: String,
}

/// A record as a line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    key: Option<String>,
    value: Option<Box<RawValue>>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    timestamp: Option<i64>,
}

impl Invoke {
    /// Makes the invocation.
    ///
    /// # Errors
    /// When there is no such function, it cannot be started, or its input cannot be read.
    pub async fn run(self) -> Result<ExitCode> {
        tidemill_service::logging::init(tidemill_service::logging::Format::Text, &self.log_level)?;
        let file = self.records.as_deref().or(self.event.as_deref());
        let file = file.context("give --event or --records, with a file or `-` for standard input")?;
        let (folder, function, place) = self.find()?;
        let plan = Plan::of(&function);
        let found = program::find(&function, &place)?;
        let input = Input::open(file)?;
        let state = tempfile::tempdir().context("failed to make a folder for fresh state")?;
        let args = ServiceArgs {
            kafka: None,
            redis: self.redis.clone(),
            s3: self.s3.clone(),
            schema_registry: None,
            kafka_port: 0,
            redis_port: free_port()?,
            s3_port: 0,
        };
        let services = Services::start(&args, state.path(), Need::NoKafka).await?;
        let mut defaults = services.environment();
        // What a companion would be is not running here: its variables stay unset.
        defaults.extend(
            folder.local.env.iter().filter(|(_, value)| !value.contains("${")).map(|(k, v)| (k.clone(), v.clone())),
        );
        let bootstrap = Bootstrap {
            command: found.command.iter().map(Into::into).collect(),
            directory: Some(found.directory),
            environment: program::environment(&function, &defaults)?,
            launcher: Launcher::current()?,
            function: plan.name.clone(),
            handler: plan.handler.clone(),
            memory_mib: plan.memory_mib,
        };
        let pool = Pool::start(Source::Program(bootstrap), plan.concurrency, plan.timeout, &Readiness::default())
            .context("the Runtime API cannot be served")?;
        let result = if self.records.is_some() { records(plan, pool, input).await } else { event(pool, input).await };
        services.stop().await?;
        result
    }

    fn find(&self) -> Result<(Folder, Function, PathBuf)> {
        let mut looked = Vec::new();
        let mut names = Vec::new();
        for path in self.places()? {
            if folder::yaml_files(&path).is_ok_and(|files| !files.is_empty()) {
                let folder = Folder::read(&path)?;
                let named =
                    |(function, _): &&(Function, PathBuf)| function.metadata.name.as_deref() == Some(&self.name);
                if let Some((function, place)) = folder.functions.iter().find(named).cloned() {
                    return Ok((folder, function, place));
                }
                names.extend(folder.functions.into_iter().filter_map(|(function, _)| function.metadata.name));
            }
            looked.push(path.display().to_string());
        }
        let (name, looked) = (&self.name, looked.join(", "));
        if names.is_empty() {
            bail!("no function `{name}` in {looked}: name its folder with --dir");
        }
        bail!("no function `{name}` in {looked}: use one of {}, or name its folder with --dir", names.join(", "))
    }

    fn places(&self) -> Result<Vec<PathBuf>> {
        if let Some(dir) = &self.dir {
            return Ok(vec![dir.clone()]);
        }
        let mut places = vec![PathBuf::from(".")];
        if let Ok(examples) = std::fs::read_dir("examples") {
            for example in examples {
                let path = example?.path();
                if path.is_dir() {
                    places.push(path);
                }
            }
        }
        places[1..].sort();
        Ok(places)
    }
}

async fn event(pool: Pool, mut input: Input) -> Result<ExitCode> {
    let mut payload = Vec::new();
    input.0.read_to_end(&mut payload).context("failed to read the event")?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&payload).context("the event is not JSON")?;
    let mut health = pool.health();
    let stop = shutdown::on_signal();
    let outcome = tokio::select! {
        (outcome, _) = pool.invoke(uuid(), payload.len(), || payload.into(), &stop) => outcome.map_err(|failed| failed.to_string()),
        reason = failing(&mut health) => Err(reason),
    };
    pool.stop().await;
    match outcome {
        Ok(body) => {
            std::io::stdout().write_all(&body)?;
            println!();
            Ok(ExitCode::SUCCESS)
        }
        Err(failed) => bail!("the function failed: {failed}"),
    }
}

async fn records(plan: Plan, pool: Pool, mut input: Input) -> Result<ExitCode> {
    let TriggerPlan::Kafka(kafka) = &plan.trigger else {
        bail!("function {} has a schedule trigger: give it an --event", plan.name);
    };
    let limits = kafka.batch.clone();
    let default_topic = kafka.topics[0].clone();
    let sink = Arc::new(Lines::default());
    let stats = Arc::new(Stats::default());
    let totals = stats.watch();
    let pipeline = Pipeline {
        shared: None,
        filters: filters(&plan)?,
        decoder: None,
        encoder: None,
        plan,
        pool,
        outputs: sink.clone(),
        dead_letters: sink,
        // What failed is shown, wherever it would go.
        archive: None,
        stats,
        bootstrap_servers: "localhost:9092".to_owned(),
    };
    let stop = shutdown::on_signal();
    let progress =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {pos} records, {per_sec}")?);
    let mut health = pipeline.pool.health();
    let work = async {
        let mut offsets = BTreeMap::new();
        // Batches as the reader of a partition would make them.
        let mut lanes = Lanes::new(Ordering::None);
        let mut text = String::new();
        let mut number = 0;
        loop {
            text.clear();
            number += 1;
            if input.0.read_line(&mut text).context("failed to read the records")? == 0 {
                break;
            }
            if text.trim().is_empty() {
                continue;
            }
            let record = record(&text, &default_topic, &mut offsets).with_context(|| format!("line {number}"))?;
            if !pipeline.wants(&record) {
                pipeline.stats.count(Counted::Dropped, 1);
                pipeline.stats.count(Counted::Settled, 1);
                continue;
            }
            lanes.push(Entry::from(record));
            while lanes.has_full(&limits)
                && let Some(batch) = lanes.hand_out(&limits)
            {
                settle(&pipeline, batch, &progress, &stop).await?;
            }
        }
        while let Some(batch) = lanes.hand_out(&limits) {
            settle(&pipeline, batch, &progress, &stop).await?;
        }
        Ok(())
    };
    let result = tokio::select! {
        result = work => result,
        reason = failing(&mut health) => Err(anyhow::anyhow!("the function does not start: {reason}")),
    };
    progress.finish_and_clear();
    pipeline.pool.stop().await;
    let totals = *totals.borrow();
    eprintln!(
        "{} in, {} out, {} dropped, {} dead-lettered",
        totals.r#in, totals.out, totals.dropped, totals.dead_lettered
    );
    result.map(|()| ExitCode::SUCCESS)
}

async fn settle(
    pipeline: &Pipeline<Lines>,
    batch: Batch,
    progress: &ProgressBar,
    stop: &tokio_util::sync::CancellationToken,
) -> Result<()> {
    let (records, _) = batch.split();
    let count = records.len() as u64;
    whole(&pipeline.settle(records, Ordering::Partition, &Turn::default(), stop).await?)?;
    progress.inc(count);
    Ok(())
}

/// Resolves when the function has failed to start.
async fn failing(health: &mut tokio::sync::watch::Receiver<tidemill_runner::health::Health>) -> String {
    use tidemill_runner::health::Health;
    let failing = health.wait_for(|health| matches!(health, Health::Failing(_))).await.map(|health| health.clone());
    match failing {
        Ok(Health::Failing(reason)) => reason,
        _ => std::future::pending().await,
    }
}

fn record(text: &str, default_topic: &str, offsets: &mut BTreeMap<(String, i32), i64>) -> Result<Record> {
    let line: Line = serde_json::from_str(text).context(
        "not a record: expected {\"topic\", \"key\", \"value\" or \"valueBase64\", \"headers\", \"timestamp\"}",
    )?;
    let topic = line.topic.unwrap_or_else(|| default_topic.to_owned());
    let partition = line.partition.unwrap_or(0);
    let next = offsets.entry((topic.clone(), partition)).or_default();
    let offset = line.offset.unwrap_or(*next);
    *next = offset + 1;
    let value = match (line.value, line.value_base64) {
        (Some(_), Some(_)) => bail!("give `value` or `valueBase64`, not both"),
        (None, Some(text)) => Some(STANDARD.decode(text).context("`valueBase64` is not base64")?),
        (Some(raw), None) => match serde_json::from_str(raw.get())? {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.into_bytes()),
            _ => Some(raw.get().as_bytes().to_vec()),
        },
        (None, None) => None,
    };
    Ok(Record {
        topic: topic.into(),
        partition,
        offset,
        timestamp: line.timestamp.unwrap_or_else(|| chrono::Utc::now().timestamp_millis()),
        log_append_time: false,
        key: line.key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: line.headers.into_iter().map(|(name, value)| (name, Some(value.into_bytes()))).collect(),
    })
}

/// Standard output as a sink: a record a line.
#[derive(Default)]
struct Lines(Mutex<()>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutLine<'a> {
    /// Empty where it is none: a dead letter that goes to S3.
    #[serde(skip_serializing_if = "str::is_empty")]
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, String>,
}

impl Sink for Lines {
    async fn produce(&self, records: &[OutRecord]) -> Result<(), output::Error> {
        let failed = |error: std::io::Error| output::Error::Fatal(format!("standard output: {error}"));
        let mut text = Vec::new();
        for record in records {
            serde_json::to_writer(&mut text, &out_line(record)).map_err(|error| failed(error.into()))?;
            text.push(b'\n');
        }
        let _turn = self.0.lock();
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(failed)
    }
}

fn out_line(record: &OutRecord) -> OutLine<'_> {
    let (value, value_base64) = match record.value.as_deref().map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((bytes, Err(_))) => (None, Some(STANDARD.encode(bytes))),
        Some((_, Ok(text))) => match serde_json::from_str::<Box<RawValue>>(text) {
            // A line is one line: JSON that is spread over several is written anew.
            Ok(raw) if raw.get().contains('\n') => {
                (serde_json::from_str::<serde_json::Value>(text).ok().and_then(|value| to_raw_value(&value).ok()), None)
            }
            Ok(raw) => (Some(raw), None),
            Err(_) => (to_raw_value(text).ok(), None),
        },
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers =
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().map(text).unwrap_or_default()));
    OutLine {
        topic: &record.topic,
        key: record.key.as_deref().map(text),
        value,
        value_base64,
        headers: headers.collect(),
    }
}

struct Input(Box<dyn BufRead + Send>);

impl Input {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self(Box::new(BufReader::new(std::io::stdin()))));
        }
        let file = std::fs::File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(Self(Box::new(BufReader::new(file))))
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
