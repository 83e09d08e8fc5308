//! Generates the files that are made from code, checks that the committed ones are current, and
//! writes the container images.

mod crds;
mod images;
mod proto;
mod reference;
mod simulate;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{env, path::PathBuf};

/// Generate or check the files that are made from code.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// crds/: the custom resource definitions; docs/reference.md: their fields.
    Crds {
        /// Compare with the committed files instead of writing them.
        #[arg(long)]
        check: bool,
    },
    /// docs/scaling/: how the autoscaler and others fare in the simulator.
    Simulate {
        /// Compare with the committed files instead of writing them.
        #[arg(long)]
        check: bool,
    },
    /// proto/: Rust types of the Protobuf messages, and what was released of them.
    Proto(proto::Args),
    /// target/images/: an image of each program, from what `cargo build --release` made.
    Images(images::Args),
}

fn main() -> Result<()> {
    let args = Args::parse();
    // Asked when it runs: clones share compiled programs, and each has its own files.
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("run it with `cargo run -p xtask`")?);
    let root = own.parent().context("the workspace's folder")?;
    match args.task {
        Task::Crds { check } => crds::run(root, check),
        Task::Simulate { check } => simulate::run(root, check),
        Task::Proto(args) => proto::run(root, &args),
        Task::Images(args) => images::run(root, &args),
    }
}
