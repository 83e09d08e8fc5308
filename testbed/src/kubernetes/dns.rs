//! CoreDNS in the cluster.

use super::{Cluster, PATIENCE, network::NODE};
use crate::programs::{answer, run};
use anyhow::{Context, Result, ensure};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const MANIFEST: &str = include_str!("../../kubernetes/coredns.yaml");

/// Installs it, and waits until it answers and pods can be made.
pub fn apply(cluster: &Cluster) -> Result<()> {
    let manifest = cluster.kubeconfig().with_file_name("coredns.yaml");
    fs::write(&manifest, MANIFEST)?;
    run(cluster.kubectl().arg("apply").arg("-f").arg(&manifest)).context("failed to install CoreDNS")?;
    let rollout = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s"];
    run(cluster.kubectl().args(rollout)).context("CoreDNS does not become ready")?;
    run(cluster.kubectl().args(["wait", "--for=create", "serviceaccount/default", "--timeout=30s"]))
        .context("the default service account is not made")
}

/// Waits until the kubelet knows of its pods: it learns of all at once, and this one is always there.
pub fn wait_until_known(cluster: &Cluster) -> Result<()> {
    let pods = format!("/api/v1/nodes/{NODE}/proxy/pods");
    let started = Instant::now();
    while !answer(cluster.kubectl().args(["get", "--raw", &pods])).is_ok_and(|pods| pods.contains("kube-dns")) {
        ensure!(started.elapsed() < PATIENCE, "the kubelet does not learn of its pods");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
