//! Logs of a function: one JSON object a line on standard error, level by `LOG_LEVEL`. The
//! Lambda runtime's span adds the request id to every line of an invocation.

use tracing_subscriber::EnvFilter;

/// `LOG_LEVEL` is not a level.
#[derive(Debug, thiserror::Error)]
#[error("LOG_LEVEL is not a filter; set it to error, warn, info, debug or trace")]
pub struct Error {
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging; to be called once, first.
///
/// # Errors
/// `LOG_LEVEL` is not a level or a filter of levels.
pub fn init() -> Result<(), Error> {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(level).map_err(|source| Error { source })?;
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
