//! The `tidemill` program.

mod autoscaler;
mod dlq;
mod folder;
mod invoke;
mod local;
mod migrate;
mod output;
mod program;
mod services;
mod up;
mod validate;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::{ffi::OsString, process::ExitCode};
use tidemill_runner::serve;
use tidemill_service::{child, runtime};

/// Functions on Kafka records: run them, check them, try them out.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Box<up::Up>),
    Validate(validate::Validate),
    Invoke(Box<invoke::Invoke>),
    /// Look at dead letters, and send them back
    ///
    /// It reads topics: letters in a bucket (`onFailure.s3`) are not listed or replayed. `aws s3 ls --recursive
    /// s3://BUCKET/PREFIX` lists them, and `aws s3 cp s3://BUCKET/OBJECT -` shows one.
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Look at how functions are scaled
    #[command(subcommand)]
    Autoscaler(autoscaler::Autoscaler),
    /// Turn other projects' resources into ours
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Print the custom resource definitions
    #[command(after_help = "Example:\n  tidemill crds | kubectl apply --server-side -f -")]
    Crds,
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  source <(tidemill completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Runner(Box<serve::Args>),
    #[command(hide = true, name = child::SUBCOMMAND)]
    Tied {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Tied { arguments } = &command {
        // Success does not return.
        let Err(error) = child::exec_tied(arguments);
        return fail(&anyhow::Error::from(error));
    }
    match runtime::run(run(command)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> Result<ExitCode> {
    if !matches!(command, Command::Up(_) | Command::Invoke(_) | Command::Runner(_)) {
        end_with_the_reader()?;
    }
    match command {
        Command::Up(up) => return up.run().await,
        Command::Validate(validate) => return validate.run(),
        Command::Invoke(invoke) => return invoke.run().await,
        Command::Dlq(dlq) => return dlq.run().await,
        Command::Autoscaler(autoscaler::Autoscaler::Replay(replay)) => return replay.run(),
        Command::Migrate(migrate) => return migrate.run(),
        Command::Crds => {
            for crd in tidemill_api::check::crds() {
                print!("---\n{}", serde_saphyr::to_string(&crd)?);
            }
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidemill", &mut std::io::stdout());
        }
        Command::Runner(args) => serve::run(*args).await?,
        Command::Tied { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Whoever prints into `head` ends when that has seen enough, and says nothing of it.
#[expect(unsafe_code, reason = "the standard library has no call for it")]
fn end_with_the_reader() -> Result<()> {
    // SAFETY: no handler is installed, and nobody relies on the one before.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
