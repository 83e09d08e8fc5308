//! The threads that a program runs on.

use std::io::Error;
use tokio::runtime::Builder;

/// A program's threads: what waits for brokers, sockets and children needs no more.
const THREADS: usize = 2;

/// Runs a program to its end, and waits for nothing that it has left behind.
///
/// # Errors
/// What the program ends with, or that no threads can be started.
pub fn run<T, E: From<Error>>(program: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let done = runtime.block_on(program);
    // What was to end has ended; a call of librdkafka that is stuck would be waited for.
    runtime.shutdown_background();
    done
}
