//! Where programs are, and how one is run to its end.

use anyhow::{Context, Result, bail};
use std::{path::PathBuf, process::Command};

/// A program of this workspace, built into the folder of the running one.
///
/// # Errors
/// When it was not built.
pub fn own(name: &str) -> Result<PathBuf> {
    let current = std::env::current_exe().context("this program's own path is unknown")?;
    let mut folder = current.parent();
    while let Some(place) = folder {
        let candidate = place.join(name);
        if candidate.is_file() {
            return Ok(candidate);
        }
        if place.file_name().is_none_or(|last| last != "deps" && last != "examples") {
            break;
        }
        folder = place.parent();
    }
    bail!("{name} is not built: run `make build`")
}

/// Runs a command to its end.
///
/// # Errors
/// When it fails; what it wrote is in the message.
pub fn run(command: &mut Command) -> Result<()> {
    answer(command).map(drop)
}

/// Runs a command to its end, for what it writes to its output.
///
/// # Errors
/// When it fails; what it wrote is in the message.
pub fn answer(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to start {}", command.get_program().display()))?;
    if output.status.success() {
        return String::from_utf8(output.stdout).context("the answer is not UTF-8");
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    bail!("{} ended with {}:\n{out}{err}", command.get_program().display(), output.status)
}
