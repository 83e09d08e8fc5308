//! The `tidemill-operator` program.

use anyhow::Result;
use clap::Parser;
use tidemill_operator::run::{self, Args};

fn main() -> Result<()> {
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run::run(args))
}
