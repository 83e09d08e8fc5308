//! The fault suite as a program: docs/faults.md.

use clap::Parser;
use std::{process::ExitCode, time::Duration};
use tidemill_e2e::faults::{self, Suite, plan::Fault};

/// Kill, cut, stop, slow down and fill up what Tidemill works with, and count what is lost or repeated.
///
/// Starts three brokers, Redis and S3 of its own, and removes them at the end. Needs root.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  faults\n  faults --minutes 5 --seed 42\n  faults --only leader --only controller\n  faults --once"
)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 30.0, value_name = "MINUTES")]
    minutes: f64,
    /// Decides which fault comes when, whom it meets and how long it lasts; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults.
    #[arg(long, value_enum)]
    only: Vec<Fault>,
    /// Each fault once, at its shortest.
    #[arg(long, conflicts_with = "minutes")]
    once: bool,
    /// Records that go in each second.
    #[arg(long, default_value_t = 100, value_name = "RECORDS")]
    per_second: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let suite = Suite {
        seed: args.seed.unwrap_or_else(rand::random),
        faults: if args.only.is_empty() { Fault::ALL.to_vec() } else { args.only },
        lasts: (!args.once).then(|| Duration::from_secs_f64(args.minutes * 60.0)),
        per_second: args.per_second,
    };
    tokio::select! {
        table = faults::run(&suite) => {
            println!("{table}");
            if table.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        // What was started ends with the run, so it must not end at once.
        _ = tokio::signal::ctrl_c() => ExitCode::FAILURE,
    }
}
