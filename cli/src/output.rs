//! How results are written: for people, or for programs.

use anyhow::Result;
use serde::Serialize;

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Format {
    /// Writes a result as JSON or YAML to standard output.
    ///
    /// # Errors
    /// When it cannot be put into that form.
    pub fn print(self, result: &impl Serialize) -> Result<()> {
        match self {
            Self::Yaml => print!("{}", serde_saphyr::to_string(result)?),
            Self::Json | Self::Table => println!("{}", serde_json::to_string_pretty(result)?),
        }
        Ok(())
    }
}
