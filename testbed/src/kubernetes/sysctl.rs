//! The kernel settings that the cluster needs or that its programs change, put back afterwards.

use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs, path::Path};

/// What pods' traffic needs.
const NEEDED: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/bridge/bridge-nf-call-iptables", "1")];
/// What the kubelet and kube-proxy change by themselves.
const CHANGED: [&str; 7] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];
const SAVED: &str = "sysctl.json";

/// Writes down what is set, then sets what is needed.
pub fn set(state: &Path) -> Result<()> {
    let names = NEEDED.map(|(name, _)| name).into_iter().chain(CHANGED);
    // Not every kernel has every one.
    let saved: BTreeMap<_, _> = names.filter_map(|name| Some((name, fs::read_to_string(path(name)).ok()?))).collect();
    fs::write(state.join(SAVED), serde_json::to_vec(&saved)?).context("failed to write the kernel's settings down")?;
    for (name, value) in NEEDED.iter().filter(|(name, _)| saved.contains_key(name)) {
        fs::write(path(name), value).with_context(|| format!("failed to set {name}"))?;
    }
    Ok(())
}

/// Puts back what was written down.
pub fn put_back(state: &Path) -> Result<()> {
    let file = state.join(SAVED);
    let Ok(saved) = fs::read(&file) else { return Ok(()) };
    let saved: BTreeMap<String, String> =
        serde_json::from_slice(&saved).context("failed to read the kernel's settings")?;
    for (name, value) in saved {
        if fs::read_to_string(path(&name)).is_ok_and(|now| now != value) {
            fs::write(path(&name), value).with_context(|| format!("failed to put back {name}"))?;
        }
    }
    fs::remove_file(file).context("failed to forget the kernel's settings")
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}
