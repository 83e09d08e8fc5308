//! Kafka, S3 and Redis on one machine, for trying things out and for tests.
//!
//! The broker and S3 run in this process, Redis as a child that ends with it. Each keeps its
//! data in a folder, so that a second run goes on where the first ended.

pub mod broker;
pub mod redis;
pub mod s3;

use std::{io, net::SocketAddr};

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken.
    #[error(
        "{service} cannot listen on {address}: another program has the port. Stop it, or choose another port with {flag}"
    )]
    PortInUse {
        /// What wanted it.
        service: &'static str,
        /// The port.
        address: SocketAddr,
        /// The option that chooses another.
        flag: &'static str,
    },
    /// A folder or a socket failed.
    #[error("{service}: failed to {action}")]
    Io {
        /// What wanted it.
        service: &'static str,
        /// What was tried.
        action: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The service itself gave up.
    #[error("{service} did not start: {reason}")]
    Failed {
        /// Which.
        service: &'static str,
        /// Its words.
        reason: String,
    },
}

/// A listener on the address, or an error that says how to choose another.
///
/// # Errors
/// When the port is taken or the address is not this machine's.
pub async fn listen(
    service: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<tokio::net::TcpListener, Error> {
    tokio::net::TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            Error::PortInUse { service, address, flag }
        } else {
            Error::Io { service, action: format!("listen on {address}"), source }
        }
    })
}
