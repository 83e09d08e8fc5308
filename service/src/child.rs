//! Child processes that never outlive their parent.
//!
//! A child is started through the program's own executable (`tied`), which asks the kernel for
//! SIGKILL on the parent's death and then becomes the child by `exec`. So `kill -9` of a parent,
//! a crash or a closed terminal leaves nothing behind. Each child leads a process group of its
//! own, which is what `stop` and `kill` signal: a shell script's own children go with it.

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, killpg},
    },
    unistd::{Pid, getppid},
};
use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::{Child, Command};

/// The hidden subcommand that a program must route to [`exec_tied`].
pub const SUBCOMMAND: &str = "tied";

/// A command for `program` whose process dies with this one.
///
/// `launcher` is an executable that routes [`SUBCOMMAND`] to [`exec_tied`]: usually the
/// running program itself.
pub fn command(launcher: &Launcher, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(&launcher.0);
    command.arg(SUBCOMMAND).arg(std::process::id().to_string()).arg(program).process_group(0).kill_on_drop(true);
    command
}

/// The executable that ties children to this process.
#[derive(Clone, Debug)]
pub struct Launcher(PathBuf);

impl Launcher {
    /// The running program.
    ///
    /// # Errors
    /// When the kernel does not tell where the executable is.
    pub fn current() -> io::Result<Self> {
        std::env::current_exe().map(Self)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Another program that knows the `tied` subcommand.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }
}

/// Becomes the program named in `arguments` (parent's pid, program, its arguments).
///
/// # Errors
/// Always, since success does not return: the program could not be started.
pub fn exec_tied(arguments: &[OsString]) -> io::Result<Infallible> {
    let [parent, program, rest @ ..] = arguments else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: tied PARENT-PID PROGRAM [ARGUMENT…]"));
    };
    let parent: i32 = parent
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the parent's pid is not a number"))?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != Pid::from_raw(parent) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the parent has ended already"));
    }
    let error = std::process::Command::new(program).args(rest).exec();
    Err(io::Error::new(error.kind(), format!("failed to start {}: {error}", program.display())))
}

/// Sends SIGTERM to the child's group, and SIGKILL where it still runs after `patience`.
///
/// # Errors
/// When the child can't be waited for.
pub async fn stop(child: &mut Child, patience: Duration) -> io::Result<std::process::ExitStatus> {
    signal_group(child, Signal::SIGTERM)?;
    match tokio::time::timeout(patience, child.wait()).await {
        Ok(status) => status,
        Err(_elapsed) => kill(child).await,
    }
}

/// Sends SIGKILL to the child's group and reaps the child.
///
/// # Errors
/// When the child can't be waited for.
pub async fn kill(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    signal_group(child, Signal::SIGKILL)?;
    child.wait().await
}

fn signal_group(child: &Child, signal: Signal) -> io::Result<()> {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
        return Ok(()); // reaped already
    };
    match killpg(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
