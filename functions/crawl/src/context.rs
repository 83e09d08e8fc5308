//! Cold start: reads the configuration and prepares clients, contacting nothing.

use redis::aio::ConnectionManager;

use crate::config::{self, Source};
use crate::fetch::{self, Fetcher};

/// What the handler needs.
pub struct Context {
    /// Where links are remembered.
    pub redis: ConnectionManager,
    /// The sites to crawl.
    pub sources: Vec<Source>,
    /// How they are asked.
    pub fetcher: Fetcher,
}

/// The environment is not usable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to prepare Redis")]
    Redis(#[from] tidemill_contract::redis::Error),
    /// See the source.
    #[error("failed to read the sources")]
    Sources(#[from] config::Error),
    /// See the source.
    #[error("failed to prepare the HTTP client")]
    Http(#[from] fetch::Error),
}

impl Context {
    /// Reads `REDIS_URL`, `CRAWL_SOURCES` and `CRAWL_BASE_URL`.
    ///
    /// # Errors
    /// Names the variable that is not usable.
    pub fn from_env() -> Result<Self, Error> {
        Ok(Self {
            redis: tidemill_contract::redis::connect_from_env()?,
            sources: config::from_env()?,
            fetcher: Fetcher::new()?,
        })
    }
}
