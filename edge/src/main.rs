//! The edge as a program of its own.

use anyhow::Context;
use clap::Parser;
use tidemill_service::{logging, shutdown};

/// Serves what Tidemill's functions wrote to Redis, over WebSocket and HTTP
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    edge: tidemill_edge::Config,

    /// How log lines are written: json or text
    #[arg(long, env = "LOG_FORMAT", default_value_t)]
    log_format: logging::Format,

    /// What is logged: error, warn, info, debug, trace, or a filter by module
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Args::parse().run().await
}

impl Args {
    async fn run(self) -> anyhow::Result<()> {
        logging::init(self.log_format, &self.log_level).context("failed to set up logging")?;
        let listener = self.edge.bind().await?;
        tidemill_edge::serve(self.edge, listener, shutdown::on_signal()).await?;
        Ok(())
    }
}
