//! The cluster's processes, found by their command lines.

use super::{RUN, TEST_KUBECONFIG};
use crate::daemon::Daemon;
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill as signal},
    unistd::Pid,
};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Programs of the cluster, as their command lines begin.
const PROGRAMS: [&str; 8] = [
    "containerd",
    "containerd-shim-runc-v2",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
];
/// Kills a service, and waits until it is gone.
pub fn kill(daemon: &Daemon) -> Result<()> {
    daemon.signal(Signal::SIGKILL)?;
    while daemon.pid().is_some() {
        thread::sleep(Duration::from_millis(10));
    }
    daemon.wait_until_silent();
    Ok(())
}

/// Kills the processes of the cluster, and waits until they are gone.
pub fn end_all(state: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        let left = of_cluster(state)?;
        if left.is_empty() {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(20) {
            bail!("processes {left:?} of the cluster do not end");
        }
        for pid in left {
            end(pid)?;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills a process; one that has ended by now is none.
pub fn end(pid: i32) -> Result<()> {
    match signal(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to kill process {pid}")),
    }
}

/// Refuses where another Kubernetes runs: its packet rules have the names of ours.
pub fn refuse_another(state: &Path) -> Result<()> {
    let own = of_cluster(state)?;
    match all()?.into_iter().find(|(pid, program, _)| program == "kubelet" && !own.contains(pid)) {
        Some((pid, ..)) => bail!(
            "another Kubernetes runs here (kubelet, process {pid}): stop it, or set {TEST_KUBECONFIG} to its kubeconfig"
        ),
        None => Ok(()),
    }
}

/// Processes that run one of the cluster's programs on its folders, also those whose pid file was
/// not written.
fn of_cluster(state: &Path) -> Result<Vec<i32>> {
    let folders = [format!("{}/", state.display()), format!("{RUN}/")];
    let of_cluster = |program: &str, command_line: &str| {
        PROGRAMS.contains(&program) && folders.iter().any(|folder| command_line.contains(folder))
    };
    Ok(all()?.into_iter().filter(|(_, program, line)| of_cluster(program, line)).map(|(pid, ..)| pid).collect())
}

/// Pid, program and command line of each process.
fn all() -> Result<Vec<(i32, String, String)>> {
    let entries = fs::read_dir("/proc").context("failed to read the list of processes")?.flatten();
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let command_line = fs::read(entry.path().join("cmdline")).ok()?;
        let command_line = String::from_utf8_lossy(&command_line).into_owned();
        let program = command_line.split('\0').next()?.rsplit('/').next()?.to_owned();
        Some((pid, program, command_line))
    };
    Ok(entries.filter_map(process).collect())
}
