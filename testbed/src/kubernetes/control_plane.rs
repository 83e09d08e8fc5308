//! etcd, the API server, the controllers and the scheduler.

use super::{
    PATIENCE, certificates, cluster,
    network::{ADDRESS, API_SERVER_PORT, POD_RANGE, SERVICE_RANGE},
    programs::Programs,
};
use crate::{daemon::Daemon, programs::run};
use anyhow::{Context, Result};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

const ETCD_PEER_PORT: u16 = 12_380;

fn etcd() -> Result<Daemon> {
    Daemon::new("kubernetes/etcd", 12_379)
}

/// The API server.
pub fn apiserver() -> Result<Daemon> {
    let address: Ipv4Addr = ADDRESS.parse().context("the node's address is one")?;
    Daemon::at("kubernetes/kube-apiserver", SocketAddr::from((address, API_SERVER_PORT)))
}

fn controller_manager() -> Result<Daemon> {
    Daemon::new("kubernetes/kube-controller-manager", 12_257)
}

fn scheduler() -> Result<Daemon> {
    Daemon::new("kubernetes/kube-scheduler", 12_259)
}

/// The processes, the API server first.
pub fn daemons() -> Result<[(&'static str, Daemon); 4]> {
    Ok([
        ("kube-apiserver", apiserver()?),
        ("etcd", etcd()?),
        ("kube-controller-manager", controller_manager()?),
        ("kube-scheduler", scheduler()?),
    ])
}

/// Starts etcd and the API server, where they do not run, and waits until it is ready.
pub fn start_apiserver(state: &Path, programs: &Programs) -> Result<()> {
    let etcd = etcd()?;
    if etcd.pid().is_none() {
        start_etcd(&etcd)?;
    }
    let daemon = apiserver()?;
    if daemon.pid().is_none() {
        let pki = certificates::folder(state);
        let pki = pki.display();
        let arguments = [
            format!("--etcd-servers=http://{}", etcd.address),
            format!("--bind-address={ADDRESS}"),
            format!("--advertise-address={ADDRESS}"),
            format!("--secure-port={API_SERVER_PORT}"),
            // Empty; a process is known by its folder.
            format!("--cert-dir={}", daemon.folder().display()),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            format!("--tls-cert-file={pki}/apiserver.crt"),
            format!("--tls-private-key-file={pki}/apiserver.key"),
            format!("--client-ca-file={pki}/ca.crt"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={pki}/service-accounts.pub"),
            format!("--service-account-signing-key-file={pki}/service-accounts.key"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--kubelet-certificate-authority={pki}/ca.crt"),
            format!("--kubelet-client-certificate={pki}/apiserver-kubelet.crt"),
            format!("--kubelet-client-key={pki}/apiserver-kubelet.key"),
            // The node's name is no name that this machine resolves: `kubectl logs` needs the address.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            // Metrics APIs of the operator's tests are served by pods.
            "--enable-aggregator-routing=true".to_owned(),
            format!("--requestheader-client-ca-file={pki}/ca.crt"),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            format!("--proxy-client-cert-file={pki}/front-proxy.crt"),
            format!("--proxy-client-key-file={pki}/front-proxy.key"),
        ];
        daemon.start(programs.path("kube-apiserver"), &arguments, PATIENCE)?;
    }
    wait_until_ready()
}

fn start_etcd(etcd: &Daemon) -> Result<()> {
    let peers = format!("http://{}:{ETCD_PEER_PORT}", etcd.address.ip());
    let arguments = [
        format!("--data-dir={}/data", etcd.folder().display()),
        format!("--listen-client-urls=http://{}", etcd.address),
        format!("--advertise-client-urls=http://{}", etcd.address),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // Its data does not outlive the cluster.
        "--unsafe-no-fsync".to_owned(),
    ];
    etcd.start("etcd", &arguments, PATIENCE)
}

fn wait_until_ready() -> Result<()> {
    let cluster = cluster()?;
    let started = Instant::now();
    loop {
        match run(cluster.kubectl().args(["get", "--raw", "/readyz", "--request-timeout=5s"])) {
            Ok(()) => return Ok(()),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error).context("the API server does not become ready");
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// The argument that names a process's kubeconfig.
pub fn kubeconfig(daemon: &Daemon) -> String {
    format!("--kubeconfig={}/kubeconfig", daemon.folder().display())
}

/// Starts what acts on the API server's objects.
pub fn start_controllers(state: &Path, programs: &Programs) -> Result<()> {
    let pki = certificates::folder(state);
    let pki = pki.display();
    let manager = controller_manager()?;
    let arguments = [
        kubeconfig(&manager),
        format!("--bind-address={}", manager.address.ip()),
        format!("--secure-port={}", manager.address.port()),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--service-account-private-key-file={pki}/service-accounts.key"),
        "--use-service-account-credentials=true".to_owned(),
        "--allocate-node-cidrs=true".to_owned(),
        format!("--cluster-cidr={POD_RANGE}"),
        // It makes this folder, by default below /usr.
        format!("--flex-volume-plugin-dir={}/plugins", manager.folder().display()),
        "--leader-elect=false".to_owned(),
    ];
    manager.start(programs.path("kube-controller-manager"), &arguments, PATIENCE)?;
    let scheduler = scheduler()?;
    let arguments = [
        kubeconfig(&scheduler),
        format!("--bind-address={}", scheduler.address.ip()),
        format!("--secure-port={}", scheduler.address.port()),
        "--leader-elect=false".to_owned(),
    ];
    scheduler.start(programs.path("kube-scheduler"), &arguments, PATIENCE)
}
