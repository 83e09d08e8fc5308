//! Kafka, Redis and S3 for a run on this machine: embedded, or those the user named.

use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tidemill_embedded::{broker, redis, s3};
use tidemill_service::child::Launcher;

/// Which services the user named, and on which ports the embedded ones listen.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    /// Bootstrap servers of a real Kafka, instead of the embedded broker
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    /// A running Redis, instead of one started here
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// A running S3, instead of the embedded one; credentials come from the usual AWS variables
    #[arg(long, value_name = "URL")]
    pub s3: Option<String>,
    /// A running schema registry with Confluent's API: records are decoded and outputs encoded by it
    #[arg(long, value_name = "URL", env = "SCHEMA_REGISTRY_URL", value_parser = registry_url)]
    pub schema_registry: Option<String>,
    /// Port of the embedded Kafka broker
    #[arg(long, default_value_t = 9292)]
    pub kafka_port: u16,
    /// Port of the Redis started here
    #[arg(long, default_value_t = 6399)]
    pub redis_port: u16,
    /// Port of the embedded S3
    #[arg(long, default_value_t = 9290)]
    pub s3_port: u16,
}

fn registry_url(text: &str) -> Result<String, String> {
    let has_scheme = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    has_scheme.then(|| text.to_owned()).ok_or_else(|| format!("write http://{text} or https://{text}"))
}

/// The services of a run.
#[derive(Debug)]
pub struct Services {
    /// Bootstrap servers.
    pub kafka: String,
    /// URL.
    pub redis: String,
    /// URL.
    pub s3: String,
    broker: Option<broker::Embedded>,
    redis_child: Option<redis::Embedded>,
    redis_at: (Launcher, PathBuf, SocketAddr),
    s3_server: Option<s3::Embedded>,
}

/// Whether a run needs Kafka, or only what functions themselves use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All three.
    All,
    /// Redis and S3.
    NoKafka,
}

impl Services {
    /// Starts what the user did not name, with its data in `folder`.
    ///
    /// # Errors
    /// When one of them does not start; the others are stopped.
    pub async fn start(args: &ServiceArgs, folder: &Path, need: Need) -> Result<Self> {
        let unset = |name: &&'static str| std::env::var_os(name).is_none_or(|value| value.is_empty());
        if args.s3.is_some()
            && let Some(name) = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].into_iter().find(unset)
        {
            bail!("--s3 needs credentials, and {name} is not set: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        }
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let launcher = Launcher::current().context("this program's own path is unknown")?;
        let redis_folder = folder.join("redis");
        let broker = async {
            match (&args.kafka, need) {
                (None, Need::All) => broker::start(&folder.join("kafka"), local(args.kafka_port)).await.map(Some),
                _ => Ok(None),
            }
        };
        let redis_child = async {
            match &args.redis {
                None => redis::start(&launcher, &redis_folder, local(args.redis_port)).await.map(Some),
                Some(_) => Ok(None),
            }
        };
        let s3_server = async {
            match &args.s3 {
                None => s3::start(&folder.join("s3"), local(args.s3_port)).await.map(Some),
                Some(_) => Ok(None),
            }
        };
        let (broker, redis_child, s3_server) = tokio::try_join!(broker, redis_child, s3_server)?;
        Ok(Self {
            kafka: args.kafka.clone().or(broker.as_ref().map(broker::Embedded::bootstrap)).unwrap_or_default(),
            redis: args.redis.clone().or(redis_child.as_ref().map(redis::Embedded::url)).unwrap_or_default(),
            s3: args.s3.clone().or(s3_server.as_ref().map(s3::Embedded::endpoint)).unwrap_or_default(),
            redis_at: (launcher, redis_folder, local(args.redis_port)),
            broker,
            redis_child,
            s3_server,
        })
    }

    /// Whether the broker is the embedded one.
    #[must_use]
    pub fn kafka_is_embedded(&self) -> bool {
        self.broker.is_some()
    }

    /// What functions are told of the services, by the usual variables.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([
            ("REDIS_URL".to_owned(), self.redis.clone()),
            ("AWS_ENDPOINT_URL_S3".to_owned(), self.s3.clone()),
            ("AWS_REGION".to_owned(), std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned())),
        ]);
        if self.s3_server.is_some() {
            environment.insert("AWS_ACCESS_KEY_ID".to_owned(), s3::ACCESS_KEY.to_owned());
            environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), s3::SECRET_KEY.to_owned());
        } else {
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
                if let Ok(value) = std::env::var(name) {
                    environment.insert(name.to_owned(), value);
                }
            }
        }
        environment
    }

    /// Starts Redis again where its process has ended; answers whether it had.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn revive(&mut self) -> Result<bool> {
        let Some(child) = &mut self.redis_child else { return Ok(false) };
        if child.process().try_wait()?.is_none() {
            return Ok(false);
        }
        let (launcher, folder, address) = &self.redis_at;
        self.redis_child = Some(redis::start(launcher, folder, *address).await?);
        Ok(true)
    }

    /// Stops what was started here.
    ///
    /// # Errors
    /// When Redis cannot be waited for.
    pub async fn stop(self) -> Result<()> {
        if let Some(redis) = self.redis_child {
            redis.stop().await?;
        }
        if let Some(s3) = self.s3_server {
            s3.stop();
        }
        if let Some(broker) = self.broker {
            broker.stop();
        }
        Ok(())
    }
}
