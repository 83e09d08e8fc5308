//! The `testbed` program: real services for tests and demos, started and stopped by one command.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};
use tidemill_testbed::{
    daemon::Daemon,
    kafka::{
        Cluster, Size,
        secured::{Listener, Secured},
    },
    kubernetes, redis, registry, s3,
};

/// Start and stop real Kafka, Redis, S3, Schema Registry and Kubernetes for tests, on ports of their own.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  testbed kafka start\n  testbed kafka start --brokers three\n  testbed kafka start --secured\n  testbed kubernetes start\n  testbed status\n  testbed down"
)]
struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// Apache Kafka 4.1.
    Kafka {
        #[command(subcommand)]
        action: Action,
        /// One broker, three, another one, or one without KIP-848.
        #[arg(long, global = true, value_enum, default_value = "one")]
        brokers: Size,
        /// Another broker, which asks for passwords and speaks TLS.
        #[arg(long, global = true, conflicts_with = "brokers")]
        secured: bool,
    },
    /// Redis.
    Redis {
        #[command(subcommand)]
        action: Action,
    },
    /// S3 over a folder.
    S3 {
        #[command(subcommand)]
        action: S3Action,
    },
    /// A Schema Registry with Confluent's API.
    Registry {
        #[command(subcommand)]
        action: Action,
    },
    /// Kubernetes 1.34 of one node; needs root.
    Kubernetes {
        #[command(subcommand)]
        action: KubernetesAction,
    },
    /// Stop everything and forget its data.
    Down,
    /// Say what runs where.
    Status,
}

#[derive(Subcommand)]
enum Action {
    /// Start it, and print its address.
    Start,
    /// Stop it and forget its data.
    Stop,
}

#[derive(Subcommand)]
enum KubernetesAction {
    /// Start an empty cluster, and print the path of its kubeconfig.
    Start,
    /// Stop it and remove all that it made.
    Stop,
    /// Give the node the images of archives.
    Load {
        /// OCI or Docker archives.
        #[arg(required = true, value_name = "IMAGE.tar")]
        archives: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum S3Action {
    /// Start it, and print its address.
    Start,
    /// Stop it and forget its data.
    Stop,
    /// Serve in the foreground.
    Serve {
        /// Where the buckets are.
        #[arg(long)]
        folder: PathBuf,
        /// Where to listen.
        #[arg(long)]
        addr: SocketAddr,
    },
}

fn main() -> Result<()> {
    match Args::parse().service {
        Service::Kafka { action: Action::Start, secured: true, .. } => {
            let kafka = Secured::new()?;
            kafka.start()?;
            for listener in Listener::ALL {
                println!("{:14} {}", listener.name(), kafka.bootstrap(listener));
            }
            println!("certificates: {}", kafka.broker().folder().display());
        }
        Service::Kafka { action: Action::Stop, secured: true, .. } => Secured::new()?.broker().remove()?,
        Service::Kafka { action: Action::Start, brokers, .. } => {
            let cluster = Cluster::new(brokers)?;
            cluster.start()?;
            println!("{}", cluster.bootstrap());
        }
        Service::Kafka { action: Action::Stop, brokers, .. } => Cluster::new(brokers)?.remove()?,
        Service::Redis { action: Action::Start } => println!("redis://{}/", redis::start()?.address),
        Service::Redis { action: Action::Stop } => redis::service()?.remove()?,
        Service::S3 { action: S3Action::Start } => println!("http://{}", s3::start()?.address),
        Service::S3 { action: S3Action::Stop } => s3::service()?.remove()?,
        Service::S3 { action: S3Action::Serve { folder, addr } } => serve_s3(&folder, addr)?,
        Service::Registry { action: Action::Start } => println!("{}", registry::url(&registry::start()?)),
        Service::Registry { action: Action::Stop } => registry::service()?.remove()?,
        Service::Kubernetes { action: KubernetesAction::Start } => {
            println!("{}", kubernetes::start()?.kubeconfig().display());
        }
        Service::Kubernetes { action: KubernetesAction::Stop } => kubernetes::stop()?,
        Service::Kubernetes { action: KubernetesAction::Load { archives } } => {
            let cluster = kubernetes::cluster()?;
            archives.iter().try_for_each(|archive| cluster.load_image(archive))?;
        }
        Service::Down => {
            kubernetes::stop()?;
            services()?.iter().try_for_each(|(_, daemon)| daemon.remove())?;
        }
        Service::Status => {
            for (name, daemon) in services()?.into_iter().chain(kubernetes::daemons()?) {
                let state = daemon.pid().map_or_else(|| "not running".to_owned(), |pid| format!("running, pid {pid}"));
                println!("{name:23} {:21} {state}", daemon.address.to_string());
            }
        }
    }
    Ok(())
}

fn services() -> Result<Vec<(&'static str, Daemon)>> {
    let kafka = Size::value_variants().iter().map(|size| Cluster::new(*size)).collect::<Result<Vec<_>>>()?;
    let brokers = kafka.iter().flat_map(|cluster| cluster.brokers()).map(|broker| ("kafka", broker.clone()));
    let others = [("redis", redis::service()?), ("s3", s3::service()?), ("registry", registry::service()?)];
    let secured = ("kafka, secured", Secured::new()?.broker().clone());
    Ok(brokers.chain([secured]).chain(others).collect())
}

fn serve_s3(folder: &std::path::Path, addr: SocketAddr) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(async {
        let _s3 = tidemill_embedded::s3::start(folder, addr).await?;
        tidemill_service::shutdown::on_signal().cancelled().await;
        Ok(())
    })
}
