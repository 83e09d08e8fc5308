//! Cold start: reads the environment and prepares the client, contacting nothing.

use redis::aio::ConnectionManager;

/// What the handler needs.
pub struct Context {
    /// Where the state is kept.
    pub redis: ConnectionManager,
}

impl Context {
    /// Reads `REDIS_URL`.
    ///
    /// # Errors
    /// `REDIS_URL` is not usable.
    pub fn from_env() -> Result<Self, tidemill_contract::redis::Error> {
        Ok(Self { redis: tidemill_contract::redis::connect_from_env()? })
    }
}
