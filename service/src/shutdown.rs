//! Turns the signals that end a process into one cancellation token.
//!
//! SIGHUP counts, so that a closed terminal stops what was started in it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that is cancelled on the first SIGINT, SIGTERM or SIGHUP.
///
/// A second signal ends the process at once with exit code 130.
///
/// # Panics
/// Outside a Tokio runtime, or where the kernel refuses a signal handler.
pub fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let mut hangup = signal(SignalKind::hangup()).expect("SIGHUP can be handled");
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            if cancelled.is_cancelled() {
                warn!(signal = name, "second signal: ending at once");
                std::process::exit(130);
            }
            info!(signal = name, "stopping");
            cancelled.cancel();
        }
    });
    token
}
