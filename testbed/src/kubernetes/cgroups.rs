//! The control group that all pods are in, whose members are therefore known without containerd.

use super::{mounts, processes};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Its name in each hierarchy.
pub const CGROUP: &str = "tidemill-testbed";

/// Makes it; the kubelet wants it to be there.
pub fn make() -> Result<()> {
    for folder in folders()? {
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    Ok(())
}

/// Kills all that is in it, and removes it.
pub fn remove() -> Result<()> {
    let started = Instant::now();
    for folder in folders()? {
        while folder.exists() {
            for pid in members(&folder) {
                processes::end(pid)?;
            }
            // Busy while a process that was killed is not gone.
            match remove_below(&folder) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    if started.elapsed() > Duration::from_secs(20) {
                        bail!("{} still has processes after {:?}", folder.display(), started.elapsed());
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                result => result.with_context(|| format!("failed to remove {}", folder.display()))?,
            }
        }
    }
    Ok(())
}

fn folders() -> Result<Vec<PathBuf>> {
    Ok(mounts::cgroup_hierarchies()?.into_iter().map(|root| root.join(CGROUP)).collect())
}

fn members(folder: &Path) -> Vec<i32> {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|line| line.parse().ok());
    own.chain(children(folder).iter().flat_map(|child| members(child))).collect()
}

fn remove_below(folder: &Path) -> std::io::Result<()> {
    children(folder).iter().try_for_each(|child| remove_below(child))?;
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
