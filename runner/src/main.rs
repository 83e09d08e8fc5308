//! The `tidemill-runner` program: one function in one pod.

use anyhow::Result;
use clap::Parser;
use tidemill_runner::serve::{self, Args};
use tidemill_service::child;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::SUBCOMMAND) {
        child::exec_tied(&arguments[1..])?;
    }
    let args = Args::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(serve::run(args))
}
