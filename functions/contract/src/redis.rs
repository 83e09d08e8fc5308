//! The connection to Redis. It opens on first use and opens again after a loss, so that a
//! function starts while Redis is away; commands fail within seconds, never hang.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};

/// The connection cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("REDIS_URL is not usable; set it to redis://host:port/db")]
pub struct Error {
    source: redis::RedisError,
}

/// A connection to `url`, opened on first use.
///
/// # Errors
/// `url` is not a Redis URL.
pub fn connect(url: &str) -> Result<ConnectionManager, Error> {
    let client = redis::Client::open(url).map_err(|source| Error { source })?;
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(3)
        .set_max_delay(Duration::from_secs(1))
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(Some(Duration::from_secs(10)));
    ConnectionManager::new_lazy_with_config(client, config).map_err(|source| Error { source })
}

/// A connection to `REDIS_URL`, by default `redis://127.0.0.1:6379`, opened on first use.
///
/// # Errors
/// `REDIS_URL` is not a Redis URL.
pub fn connect_from_env() -> Result<ConnectionManager, Error> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    connect(&url)
}
