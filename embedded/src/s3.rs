//! S3 over a folder, in this process.

use crate::{Error, listen};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::task::JoinHandle;
use tracing::debug;

const SERVICE: &str = "the embedded S3";

/// The credentials it accepts; it listens on this machine only.
pub const ACCESS_KEY: &str = "tidemill";
/// The secret that goes with [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "tidemill-local";

/// A running S3.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    folder: PathBuf,
    task: JoinHandle<()>,
}

/// Starts S3 with its objects in `folder`: a bucket is a folder in it.
///
/// # Errors
/// When the port is taken, or the folder cannot be written.
pub async fn start(folder: &Path, address: SocketAddr) -> Result<Embedded, Error> {
    let listener = listen(SERVICE, address, "--s3-port").await?;
    let io = |source| Error::Io { service: SERVICE, action: format!("use {}", folder.display()), source };
    let address = listener.local_addr().map_err(io)?;
    std::fs::create_dir_all(folder).map_err(io)?;
    let files = FileSystem::new(folder)
        .map_err(|error| Error::Failed { service: SERVICE, reason: format!("{}: {error:?}", folder.display()) })?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let task = tokio::spawn(async move {
        let server = Builder::new(TokioExecutor::new());
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            debug!(%error, "an S3 connection has ended");
                        }
                    });
                }
                Err(error) => debug!(%error, "an S3 connection was not accepted"),
            }
        }
    });
    Ok(Embedded { address, folder: folder.to_owned(), task })
}

impl Embedded {
    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn ensure_bucket(&self, name: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).map_err(|source| Error::Io {
            service: SERVICE,
            action: format!("make {}", path.display()),
            source,
        })
    }

    /// Ends it. What it has acknowledged is in its folder.
    pub fn stop(self) {
        self.task.abort();
    }
}
