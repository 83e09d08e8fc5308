//! The `tidemill-operator` program.

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use tidemill_operator::run::{self, Args};

#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    args: Args,
}

#[derive(Subcommand)]
enum Task {
    /// Ask an address, such as http://tidemill-operator:9464/ready, and fail unless it answers 200.
    Check {
        /// The address.
        url: String,
    },
}

fn main() -> Result<()> {
    let program = Program::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match program.task {
            None => run::run(program.args).await,
            Some(Task::Check { url }) => {
                let status = reqwest::get(&url).await?.status();
                ensure!(status.is_success(), "{url} answers {status}");
                println!("{url} answers {status}");
                Ok(())
            }
        }
    })
}
