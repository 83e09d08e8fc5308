//! `tidemill migrate`: from what others scale by to a Function.

mod keda;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::{
    fs,
    io::{Read, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Turn other projects' resources into ours.
#[derive(Debug, Subcommand)]
pub enum Migrate {
    Keda(Keda),
}

/// Turn KEDA's ScaledObjects with Kafka triggers into Functions and KafkaClusters.
///
/// The manifests go to standard output, what has no equivalent to standard error. What a
/// ScaledObject does not know, the image above all, is left to fill in.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidemill migrate keda scaledobject.yaml > function.yaml\n  kubectl get scaledobjects -o yaml | tidemill migrate keda -\n\nExit codes: 0 turned, 1 something could not be turned."
)]
pub struct Keda {
    /// A file of manifests; `-` is standard input
    file: PathBuf,
}

impl Migrate {
    /// Prints what came of it.
    ///
    /// # Errors
    /// When the file cannot be read, or holds nothing to turn.
    pub fn run(&self) -> Result<ExitCode> {
        let Self::Keda(Keda { file }) = self;
        let text = read(file)?;
        let documents: Vec<serde_json::Value> =
            serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not YAML", file.display()))?;
        let found = keda::turn(&documents);
        if found.is_empty() {
            bail!("{}: no ScaledObject (keda.sh/v1alpha1) is there", file.display());
        }
        let mut code = ExitCode::SUCCESS;
        for turned in found {
            let turned = match turned {
                Ok(turned) => turned,
                Err(error) => {
                    // The others are turned all the same.
                    eprintln!("error: {}: {error:#}", file.display());
                    code = ExitCode::FAILURE;
                    continue;
                }
            };
            for manifest in &turned.manifests {
                print!("---\n{}", serde_saphyr::to_string(manifest)?);
            }
            for note in &turned.notes {
                eprintln!("{}: {note}", turned.name);
            }
        }
        Ok(code)
    }
}

fn read(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("failed to read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
