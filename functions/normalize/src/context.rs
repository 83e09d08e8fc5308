//! Cold start: reads the environment and prepares clients, contacting nothing, so that the
//! function starts while Redis or S3 is away.

use redis::aio::ConnectionManager;

use crate::archive::{self, Archive};

/// What the handler needs.
pub struct Context {
    /// Where claims are kept.
    pub redis: ConnectionManager,
    /// Where raw pages are kept.
    pub archive: Archive,
}

/// The environment is not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to prepare Redis")]
    Redis(#[from] tidemill_contract::redis::Error),
    /// See the source.
    #[error("failed to prepare the archive")]
    Archive(#[from] archive::Error),
}

impl Context {
    /// Reads `REDIS_URL`, `ARCHIVE_BUCKET` (by default `articles`) and the usual AWS variables.
    ///
    /// # Errors
    /// Names the variable that is not usable.
    pub fn from_env() -> Result<Self, Error> {
        let bucket = std::env::var("ARCHIVE_BUCKET").unwrap_or_else(|_| "articles".to_owned());
        Ok(Self { redis: tidemill_contract::redis::connect_from_env()?, archive: Archive::from_env(&bucket)? })
    }
}
