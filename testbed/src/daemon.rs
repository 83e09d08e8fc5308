//! A service that goes on after the command that started it, known by its pid file.
//!
//! A pid counts only while its process still has the service's folder in its command line, so a
//! number that the kernel gave to another program is never signalled.

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    ffi::OsStr,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A service in a folder of its own.
#[derive(Clone, Debug)]
pub struct Daemon {
    folder: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Daemon {
    /// The service of that name.
    ///
    /// # Errors
    /// When the cache folder is unknown.
    pub fn new(name: &str, port: u16) -> Result<Self> {
        Self::at(name, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The service of that name, where it listens elsewhere than on loopback.
    ///
    /// # Errors
    /// When the cache folder is unknown.
    pub fn at(name: &str, address: SocketAddr) -> Result<Self> {
        Ok(Self { folder: crate::cache()?.join("testbed").join(name), address })
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its pid, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let folder = self.folder.as_os_str().as_encoded_bytes();
        command_line.windows(folder.len()).any(|window| window == folder).then_some(pid)
    }

    /// Starts the program and waits until it listens. Its command line must name its folder.
    ///
    /// # Errors
    /// When it cannot be started, or ends, or does not listen in time.
    pub fn start(&self, program: impl AsRef<OsStr>, arguments: &[String], patience: Duration) -> Result<()> {
        let program = program.as_ref();
        // Otherwise whoever listens there would be taken for it.
        ensure!(!self.listens(), "{} is in use by another program", self.address);
        fs::create_dir_all(&self.folder).with_context(|| format!("failed to make {}", self.folder.display()))?;
        let log = self.folder.join("log");
        let output = fs::File::create(&log).with_context(|| format!("failed to make {}", log.display()))?;
        let mut process = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        fs::write(self.folder.join("pid"), process.id().to_string())?;
        let started = Instant::now();
        while !self.listens() {
            if let Some(status) = process.try_wait()? {
                bail!("{} ended with {status}: see {}", program.display(), log.display());
            }
            if started.elapsed() > patience {
                self.stop()?;
                bail!(
                    "{} does not listen on {} after {patience:?}: see {}",
                    program.display(),
                    self.address,
                    log.display()
                );
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Whether something listens on its port.
    #[must_use]
    pub fn listens(&self) -> bool {
        TcpStream::connect_timeout(&self.address, Duration::from_millis(500)).is_ok()
    }

    /// Sends a signal, where it runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match self.pid() {
            Some(pid) => kill(Pid::from_raw(pid), signal).with_context(|| format!("failed to signal process {pid}")),
            None => Ok(()),
        }
    }

    /// SIGTERM, and SIGKILL where it still runs after ten seconds. Its data stays.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let started = Instant::now();
        while self.pid().is_some() {
            if started.elapsed() > Duration::from_secs(10) {
                self.signal(Signal::SIGKILL)?;
            }
            sleep(Duration::from_millis(20));
        }
        self.wait_until_silent();
        Ok(())
    }

    /// A process that is ending has lost its command line some time before its sockets: whoever
    /// starts it again must find its port free. Something else may listen there: not for ever.
    pub fn wait_until_silent(&self) {
        let started = Instant::now();
        while self.listens() && started.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(10));
        }
    }

    /// Stops it and forgets its data.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self) -> Result<()> {
        self.stop()?;
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }
}
