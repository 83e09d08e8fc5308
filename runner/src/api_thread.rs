//! The thread that answers functions.
//!
//! Between two invocations a function makes two calls, and waits for their answers. The other threads
//! copy, filter and encode thousands of records in one go; behind that a call would wait several
//! times as long as it takes.

use crate::runtime_api::{self, Slots};
use axum::serve::ListenerExt;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

/// A thread for all processes of a function; it ends when this is dropped.
#[derive(Debug)]
pub struct ApiThread {
    runtime: Handle,
    _end: DropGuard,
}

impl ApiThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread, or nothing more to wait for sockets with.
    pub fn start() -> io::Result<Self> {
        let end = CancellationToken::new();
        let (ended, (sender, started)) = (end.clone(), mpsc::channel());
        // A runtime may be dropped only where nothing else waits: on its own thread.
        let run = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                drop(sender.send(Ok(runtime.handle().clone())));
                runtime.block_on(ended.cancelled());
            }
            Err(error) => drop(sender.send(Err(error))),
        };
        thread::Builder::new().name("runtime-api".to_owned()).spawn(run)?;
        let runtime = started.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, _end: end.drop_guard() })
    }

    /// Serves the Runtime API to whoever connects there, until that is aborted.
    ///
    /// # Errors
    /// When the listener cannot be moved to the thread.
    pub fn serve(&self, listener: TcpListener, slots: Arc<Slots>) -> io::Result<JoinHandle<io::Result<()>>> {
        let listener = listener.into_std()?;
        let _entered = self.runtime.enter();
        let listener = TcpListener::from_std(listener)?.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                debug!(%error, "the last part of an event may wait for the function");
            }
        });
        let api = runtime_api::routes(slots).into_make_service_with_connect_info::<SocketAddr>();
        Ok(self.runtime.spawn(async move { axum::serve(listener, api).await }))
    }
}
