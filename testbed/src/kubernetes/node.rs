//! containerd, the kubelet and kube-proxy.

use super::{
    PATIENCE, RUN, certificates,
    cgroups::{self, CGROUP},
    control_plane::kubeconfig,
    images::PAUSE,
    network::{ADDRESS, DNS_ADDRESS, NODE, POD_RANGE},
    programs::{NETWORK_PLUGINS, Programs},
};
use crate::{daemon::Daemon, programs::run};
use anyhow::{Context, Result};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const KUBELET_PORT: u16 = 10_250;

fn containerd() -> Result<Daemon> {
    // It serves a socket; the port is that of its metrics.
    Daemon::new("kubernetes/containerd", 12_338)
}

/// The kubelet.
pub fn kubelet() -> Result<Daemon> {
    let address: Ipv4Addr = ADDRESS.parse().context("the node's address is one")?;
    Daemon::at("kubernetes/kubelet", SocketAddr::from((address, KUBELET_PORT)))
}

fn proxy() -> Result<Daemon> {
    Daemon::new("kubernetes/kube-proxy", 12_256)
}

/// The processes.
pub fn daemons() -> Result<[(&'static str, Daemon); 3]> {
    Ok([("containerd", containerd()?), ("kubelet", kubelet()?), ("kube-proxy", proxy()?)])
}

/// containerd's socket.
pub fn socket() -> String {
    format!("{RUN}/containerd.sock")
}

/// Starts containerd and waits until it answers.
pub fn start_containerd(state: &Path) -> Result<()> {
    let daemon = containerd()?;
    fs::create_dir_all(daemon.folder())?;
    let config = daemon.folder().join("config.toml");
    let (state, socket, metrics) = (state.display(), socket(), daemon.address);
    // A host without CAP_SYS_RESOURCE refuses to lower a process's oom_score_adj.
    let text = format!(
        r#"version = 2
root = "{state}/containerd/root"
state = "{RUN}/containerd"
[grpc]
address = "{socket}"
[metrics]
address = "{metrics}"
[plugins."io.containerd.internal.v1.opt"]
path = "{state}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{RUN}/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{NETWORK_PLUGINS}"
conf_dir = "{state}/cni"
"#
    );
    fs::write(&config, text)?;
    daemon.start("containerd", &["--config".to_owned(), config.display().to_string()], PATIENCE)?;
    let started = Instant::now();
    while let Err(error) = run(Command::new("ctr").args(["--address", &socket, "version"])) {
        if started.elapsed() > PATIENCE {
            return Err(error).context("containerd does not answer");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Starts the kubelet.
pub fn start_kubelet(state: &Path, programs: &Programs) -> Result<()> {
    cgroups::make()?;
    let daemon = kubelet()?;
    let folder = daemon.folder();
    let (pki, root) = (certificates::folder(state), folder.join("root"));
    fs::create_dir_all(folder)?;
    let config = folder.join("config.json");
    let text = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": 12_248,
        "tlsCertFile": pki.join("kubelet.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet.key"),
        "authentication": {
            "anonymous": { "enabled": false },
            "x509": { "clientCAFile": pki.join("ca.crt") },
            "webhook": { "enabled": true },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "containerRuntimeEndpoint": format!("unix://{}", socket()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}"),
        // Hosts of container sandboxes still have version 1.
        "failCgroupV1": false,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "podLogsDir": folder.join("pod-logs"),
        "volumePluginDir": folder.join("plugins"),
        // A developer's disk is often nearly full, and an image that was loaded cannot be fetched again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": { "nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "200Mi" },
    });
    fs::write(&config, text.to_string())?;
    let arguments = [
        format!("--config={}", config.display()),
        kubeconfig(&daemon),
        format!("--root-dir={}", root.display()),
        format!("--cert-dir={}", pki.display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={ADDRESS}"),
    ];
    daemon.start(programs.path("kubelet"), &arguments, PATIENCE)
}

/// Starts kube-proxy.
pub fn start_proxy(programs: &Programs) -> Result<()> {
    let daemon = proxy()?;
    let arguments = [
        kubeconfig(&daemon),
        format!("--hostname-override={NODE}"),
        format!("--cluster-cidr={POD_RANGE}"),
        format!("--healthz-bind-address={}", daemon.address),
        format!("--metrics-bind-address={}:12249", daemon.address.ip()),
        // Node ports are for this machine and its pods.
        format!("--nodeport-addresses={ADDRESS}/32"),
        "--iptables-localhost-nodeports=false".to_owned(),
        // A sandbox may not set these.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
    ];
    daemon.start(programs.path("kube-proxy"), &arguments, PATIENCE)
}
