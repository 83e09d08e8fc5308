//! `tidemill validate`: what the API server would refuse, and the rules that need code.

use crate::{
    folder::{self, Reading, Unique},
    output::Format,
};
use anyhow::{Result, bail};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

/// Check manifests without a cluster, as the API server and the operator would.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tidemill validate function.yaml\n  tidemill validate examples/market --output json\n\nExit codes: 0 accepted, 1 refused."
)]
pub struct Validate {
    /// Files, or folders of files (*.yaml)
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How problems are written
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

impl Validate {
    /// Writes each problem, and answers whether there was one.
    ///
    /// # Errors
    /// When a folder cannot be read, or holds no manifest.
    pub fn run(&self) -> Result<ExitCode> {
        let mut files = Vec::new();
        for path in &self.files {
            for file in folder::yaml_files(path)? {
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        let mut reading = Reading::default();
        for file in files {
            reading.file(&file);
        }
        reading.whole(Unique::InNamespace);
        let (accepted, refused, findings) = (reading.accepted(), reading.refused, reading.findings);
        if accepted == 0 && findings.is_empty() {
            bail!("no manifests (*.yaml) are there: name files, or a folder that has some");
        }
        match self.output {
            Format::Table => {
                for finding in &findings {
                    println!("{finding}");
                }
                let problems = match findings.len() {
                    0 => String::new(),
                    1 => " (1 problem)".to_owned(),
                    more => format!(" ({more} problems)"),
                };
                println!("{accepted} accepted, {refused} refused{problems}");
            }
            structured => structured.print(&findings)?,
        }
        Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
