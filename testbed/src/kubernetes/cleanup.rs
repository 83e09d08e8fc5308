//! Removes all that a cluster made, from whatever state it is in: this is how it is stopped, and
//! what a start begins with. Its data is worth nothing, so no process is asked to end.

use super::{RUN, cgroups, mounts, network, processes, sysctl};
use anyhow::{Context, Result};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// containerd and the kubelet keep these there whatever their configuration says.
const SHIM_SOCKETS: &str = "/run/containerd/s";
const NETWORK_RESULTS: &str = "/var/lib/cni/results";
const POD_LOGS: &str = "/var/log/containers";
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins";

/// Ends the cluster's processes and removes its mounts, rules, folders and settings.
pub fn run(state: &Path) -> Result<()> {
    processes::end_all(state)?;
    cgroups::remove()?;
    remove_shim_sockets()?;
    remove_network_results()?;
    remove_log_links(state)?;
    remove_device_plugins()?;
    mounts::remove_below(&[state, Path::new(RUN)])?;
    network::down()?;
    sysctl::put_back(state)?;
    for folder in [state, Path::new(RUN)] {
        absent(fs::remove_dir_all(folder)).with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    Ok(())
}

/// The sockets that the shims' folders name.
fn remove_shim_sockets() -> Result<()> {
    for shim in entries(&Path::new(RUN).join("containerd/io.containerd.runtime.v2.task/k8s.io")) {
        let address = fs::read_to_string(shim.join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://").filter(|path| path.starts_with(SHIM_SOCKETS)) {
            absent(fs::remove_file(socket)).with_context(|| format!("failed to remove {socket}"))?;
        }
    }
    remove_empty(SHIM_SOCKETS)
}

/// The network plugin's notes: those of this network, and of loopback in the same pods.
fn remove_network_results() -> Result<()> {
    let prefix = format!("{}-", network::NETWORK);
    let names = entries(Path::new(NETWORK_RESULTS));
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    for pod in names.filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix("-eth0")) {
        for name in [format!("cni-loopback-{pod}-lo"), format!("{prefix}{pod}-eth0")] {
            let path = Path::new(NETWORK_RESULTS).join(name);
            absent(fs::remove_file(&path)).with_context(|| format!("failed to remove {}", path.display()))?;
        }
    }
    remove_empty(NETWORK_RESULTS)
}

fn remove_log_links(state: &Path) -> Result<()> {
    for link in entries(Path::new(POD_LOGS)) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(state)) {
            absent(fs::remove_file(&link)).with_context(|| format!("failed to remove {}", link.display()))?;
        }
    }
    // Its parent is everyone's.
    remove_empty_folder(Path::new(POD_LOGS)).map(drop)
}

fn remove_device_plugins() -> Result<()> {
    let folder = Path::new(DEVICE_PLUGINS);
    for file in ["kubelet.sock", "DEPRECATION", "kubelet_internal_checkpoint"] {
        absent(fs::remove_file(folder.join(file))).with_context(|| format!("failed to remove {file}"))?;
    }
    remove_empty(DEVICE_PLUGINS)
}

/// Removes the folder and its parent, where nothing of others is in them.
fn remove_empty(folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let parent = folder.parent().filter(|_| !folder.exists() || remove_empty_folder(folder).unwrap_or(false));
    parent.map_or(Ok(()), |parent| remove_empty_folder(parent).map(drop))
}

fn remove_empty_folder(folder: &Path) -> Result<bool> {
    match fs::remove_dir(folder) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("failed to remove {}", folder.display())),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// What is not there needs not be removed.
fn absent(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
