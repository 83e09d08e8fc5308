//! Real services on one machine, for tests and demos: each started and stopped by one command,
//! installed into one cache folder, on ports of its own.
//!
//! A service that runs already is used as it is, so that many tests share one start.

pub mod authority;
pub mod daemon;
pub mod kafka;
pub mod kubernetes;
pub mod programs;
pub mod redis;
pub mod registry;
pub mod s3;

use anyhow::{Context, Result};
use std::path::PathBuf;

/// `$XDG_CACHE_HOME/tidemill`, or `~/.cache/tidemill`.
///
/// # Errors
/// When neither variable says where that is.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?).join(".cache"),
    };
    Ok(base.join("tidemill"))
}
