//! What an edge is told at start, by flag or environment.
//!
//! A value that can't be understood ends the program before it listens.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;
use url::Url;

const DEFAULT_ADDR: &str = ":3002";
const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";

/// Settings of one edge.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address to serve HTTP and WebSocket on; `:3002` is every address of this machine
    #[arg(long = "addr", env = "WS_ADDR", default_value = DEFAULT_ADDR, value_parser = parse_addr)]
    pub addr: SocketAddr,

    /// Redis that `notify` writes to
    #[arg(long, env = "REDIS_URL", default_value = DEFAULT_REDIS_URL, value_parser = parse_redis_url)]
    pub redis_url: Url,

    /// Sockets held at most; further ones are answered 503
    #[arg(long, env = "WS_MAX_CONNECTIONS", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Messages a second, for each price or candle channel, that one client gets at most; what
    /// comes faster is conflated to the latest value
    #[arg(long, env = "WS_MAX_BROADCAST_RATE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_broadcast_rate: u32,

    /// Origins beside its own that browsers may connect from, separated by commas
    #[arg(long = "allowed-origin", env = "WS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = parse_origin)]
    pub allowed_origins: Vec<String>,
}

impl Config {
    /// The defaults, fed by the Redis at `redis_url`.
    #[must_use]
    pub fn new(redis_url: Url) -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3002)),
            redis_url,
            max_connections: 12_000,
            max_broadcast_rate: 20,
            allowed_origins: Vec::new(),
        }
    }

    /// Listens on [`Config::addr`].
    ///
    /// # Errors
    /// When the address can't be listened on; the text names it.
    pub async fn bind(&self) -> Result<TcpListener, Error> {
        TcpListener::bind(self.addr).await.map_err(|source| Error::Bind { addr: self.addr, source })
    }
}

/// Why a setting can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or isn't this machine's.
    #[error("failed to listen on {addr}: choose another with --addr or WS_ADDR")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not an address.
    #[error("`{0}` is no address: write `:3002` or `127.0.0.1:3002`")]
    Addr(String),
    /// Not a Redis URL.
    #[error("`{0}` is no Redis URL: write `redis://host:6379`")]
    RedisUrl(String),
    /// Not an origin.
    #[error("`{0}` is no origin: write `https://host` or `https://host:8443`, without a path, or `*` for all")]
    Origin(String),
}

fn parse_addr(text: &str) -> Result<SocketAddr, Error> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| Error::Addr(text.to_owned()))
}

fn parse_redis_url(text: &str) -> Result<Url, Error> {
    redis::parse_redis_url(text).ok_or_else(|| Error::RedisUrl(text.to_owned()))
}

fn parse_origin(text: &str) -> Result<String, Error> {
    let text = text.trim();
    if text == "*" {
        return Ok(text.to_owned());
    }
    let refused = || Error::Origin(text.to_owned());
    let origin = Url::parse(text).map_err(|_| refused())?.origin();
    if !origin.is_tuple() || text.trim_end_matches('/').matches('/').count() != 2 {
        return Err(refused());
    }
    Ok(origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::{Config, DEFAULT_REDIS_URL, parse_addr, parse_origin};
    use clap::Parser;
    use url::Url;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_two_ways_to_the_defaults_agree() {
        let parsed = Args::try_parse_from(["edge"]).expect("every setting has a default").config;
        let made = Config::new(Url::parse(DEFAULT_REDIS_URL).expect("the default is a URL"));
        assert_eq!(format!("{parsed:?}"), format!("{made:?}"));
    }

    #[test]
    fn an_address_may_leave_out_the_host() {
        for (text, expected) in
            [(":3002", Some("0.0.0.0:3002")), ("127.0.0.1:80", Some("127.0.0.1:80")), ("3002", None), ("host:x", None)]
        {
            assert_eq!(parse_addr(text).ok().map(|addr| addr.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (text, expected) in [
            ("https://Example.com", Some("https://example.com")),
            ("https://example.com:443/", Some("https://example.com")),
            ("http://localhost:5173", Some("http://localhost:5173")),
            ("*", Some("*")),
            ("example.com", None),
            ("https://example.com/path", None),
        ] {
            assert_eq!(parse_origin(text).ok().as_deref(), expected, "{text}");
        }
    }
}
