//! Generates the files that are made from code, and checks that the committed ones are current.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::{env, fs, path::PathBuf};

/// Generate or check the files that are made from code.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    task: Task,
    /// Compare with the committed files instead of writing them.
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Subcommand)]
enum Task {
    /// crds/: the custom resource definitions.
    Crds,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // Asked when it runs: clones share compiled programs, and each has its own files.
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("run it with `cargo run -p xtask`")?);
    let root = own.parent().context("the workspace's folder")?;
    let files = match args.task {
        Task::Crds => crds()?,
    };
    for (path, text) in files {
        let path = root.join(path);
        if args.check {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            if committed != text {
                bail!("{} is not current: run `cargo run --release -p xtask -- crds`", path.display());
            }
        } else {
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        }
    }
    Ok(())
}

fn crds() -> Result<Vec<(String, String)>> {
    tidemill_api::check::crds()
        .into_iter()
        .map(|crd| {
            let path = format!("crds/{}.yaml", crd.metadata.name.as_deref().context("a CRD has a name")?);
            Ok((path, serde_saphyr::to_string(&crd)?))
        })
        .collect()
}
