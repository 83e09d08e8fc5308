//! The `tidemill-runner` program: one function in one pod.

use anyhow::{Result, bail};
use clap::Parser;
use std::{
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};
use tidemill_runner::serve::{self, Args};
use tidemill_service::{child, runtime};

/// What jemalloc is told. A runner has a few threads, and the memory of an event is free again within
/// milliseconds: with arenas for each thread, and ten seconds until what is free is given back, it
/// would keep half as much again.
#[expect(unsafe_code, reason = "that is how jemalloc is told: by a symbol of this name")]
#[used]
// SAFETY: it is what jemalloc expects under this name: a text that ends with a zero.
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &[u8; 46] = b"narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0\0";

/// `tidemill-runner await ADDR`: ends once something listens there.
const AWAIT: &str = "await";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::SUBCOMMAND) {
        child::exec_tied(&arguments[1..])?;
    }
    if let [first, address] = &arguments[..]
        && first == AWAIT
    {
        return listens(&address.to_string_lossy());
    }
    runtime::run(serve::run(Args::parse()))
}

/// A pod starts its function's container after this: the Runtime API answers the first call.
fn listens(address: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > Duration::from_secs(30) {
            bail!("nothing listens on {address} after 30 s");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
