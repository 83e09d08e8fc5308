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
