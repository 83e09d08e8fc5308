//! An S3 for tests: the embedded one, in a process of its own.

use crate::{daemon::Daemon, programs};
use anyhow::Result;
use std::time::Duration;

/// The S3 of the testbed, port 29000.
///
/// # Errors
/// When the cache folder is unknown.
pub fn service() -> Result<Daemon> {
    Daemon::new("s3", 29_000)
}

/// Starts it, where it does not run.
///
/// # Errors
/// When the `testbed` program is not built.
pub fn start() -> Result<Daemon> {
    let s3 = service()?;
    if s3.pid().is_none() {
        serve(&s3)?;
    }
    Ok(s3)
}

/// Starts an S3.
///
/// # Errors
/// When the `testbed` program is not built.
pub fn serve(s3: &Daemon) -> Result<()> {
    let folder = s3.folder().join("objects").display().to_string();
    let arguments = ["s3", "serve", "--folder", &folder, "--addr", &s3.address.to_string()].map(str::to_owned);
    s3.start(programs::own("testbed")?, &arguments, Duration::from_secs(10))
}
