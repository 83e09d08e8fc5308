//! A real Kubernetes 1.34 of one node: control plane, containerd, kubelet, kube-proxy and DNS, each
//! a process of this machine. Needs root.
//!
//! Every start begins with an empty cluster, and first clears away what an earlier one left, however
//! it ended. Nothing of it leaves this machine: the node's address is that of a bridge made here,
//! pods reach each other, the API server and, on that address, what listens on this machine's
//! loopback. While it runs, no other Kubernetes can run beside it.

mod certificates;
mod cgroups;
mod cleanup;
mod control_plane;
mod dns;
mod images;
mod mounts;
mod network;
mod node;
mod processes;
mod programs;
mod sysctl;

pub use network::address_for_pods;
pub use programs::PACKAGES;

use crate::{cache, daemon::Daemon, programs::run};
use anyhow::{Context, Result, bail};
use programs::Programs;
use std::{
    env,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Names a cluster that tests use instead of this one.
pub const TEST_KUBECONFIG: &str = "TIDEMILL_TEST_KUBECONFIG";

/// How long a part may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What does not belong into a cache: sockets and mounts.
const RUN: &str = "/run/tidemill-testbed";

/// A cluster to test against.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    /// `None`: somebody else's cluster.
    state: Option<PathBuf>,
}

/// The testbed's cluster, whether it runs or not.
///
/// # Errors
/// When the cache folder is unknown.
pub fn cluster() -> Result<Cluster> {
    let state = state()?;
    Ok(Cluster { kubeconfig: state.join("admin.conf"), state: Some(state) })
}

/// The cluster that `TIDEMILL_TEST_KUBECONFIG` names, else the testbed's, started where it does not
/// run.
///
/// # Errors
/// When it does not start.
pub fn cluster_for_tests() -> Result<Cluster> {
    match env::var_os(TEST_KUBECONFIG).filter(|path| !path.is_empty()) {
        Some(path) => Ok(Cluster { kubeconfig: path.into(), state: None }),
        None => start(),
    }
}

/// Starts the cluster, unless it runs and answers. What an earlier one left is cleared away first.
///
/// # Errors
/// When a program is missing or does not start.
pub fn start() -> Result<Cluster> {
    let cluster = cluster()?;
    let state = state()?;
    let _turn = turn(&state)?;
    if cluster.answers() {
        return Ok(cluster);
    }
    require_root()?;
    processes::refuse_another(&state)?;
    let programs = Programs::install()?;
    let images = images::prepare(&programs)?;
    let started = Instant::now();
    cleanup::run(&state)?;
    fs::create_dir_all(&state)?;
    fs::create_dir_all(RUN)?;
    sysctl::set(&state)?;
    network::up(&state)?;
    certificates::write(&state)?;
    thread::scope(|scope| {
        let containers = scope.spawn(|| {
            node::start_containerd(&state)?;
            images.iter().try_for_each(|image| images::import(image))
        });
        control_plane::start_apiserver(&state, &programs)?;
        let controllers = scope.spawn(|| control_plane::start_controllers(&state, &programs));
        containers.join().expect("starting containerd does not panic")?;
        node::start_kubelet(&state, &programs)?;
        controllers.join().expect("starting controllers does not panic")?;
        node::start_proxy(&programs)
    })?;
    cluster.wait_until_ready()?;
    dns::apply(&cluster)?;
    eprintln!("testbed: Kubernetes is ready after {:.1} s", started.elapsed().as_secs_f64());
    Ok(cluster)
}

/// Stops the cluster, and removes all that it made.
///
/// # Errors
/// When something cannot be removed.
pub fn stop() -> Result<()> {
    let state = state()?;
    if !state.exists() && !Path::new(RUN).exists() {
        return Ok(());
    }
    require_root()?;
    let _turn = turn(&state)?;
    cleanup::run(&state)
}

/// The processes of the cluster, the API server first.
///
/// # Errors
/// When the cache folder is unknown.
pub fn daemons() -> Result<Vec<(&'static str, Daemon)>> {
    Ok(control_plane::daemons()?.into_iter().chain(node::daemons()?).collect())
}

impl Cluster {
    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// `kubectl` of this cluster, to be given its arguments.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let own = programs::folder().map(|folder| folder.join("kubectl")).ok().filter(|path| path.is_file());
        let mut command = Command::new(own.unwrap_or_else(|| "kubectl".into()));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// `helm` of this cluster, to be given its arguments; built where it is missing.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn helm(&self) -> Result<Command> {
        let mut command = Command::new(programs::helm()?);
        command.env("KUBECONFIG", &self.kubeconfig);
        Ok(command)
    }

    /// Whether it answers, with all of its processes there.
    #[must_use]
    pub fn answers(&self) -> bool {
        let complete = self.state.is_none()
            || daemons().is_ok_and(|daemons| daemons.iter().all(|(_, daemon)| daemon.pid().is_some()));
        complete && run(self.kubectl().args(["get", "--raw", "/readyz", "--request-timeout=5s"])).is_ok()
    }

    /// Gives the node the images of an archive.
    ///
    /// # Errors
    /// When containerd refuses them, or the cluster is not the testbed's.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        self.own("load images into")
            .context("push the images to a registry that its nodes reach")
            .and_then(|_| images::import(archive))
    }

    /// Stops the API server as a crash does, and leaves the rest.
    ///
    /// # Errors
    /// When the cluster is not the testbed's.
    pub fn stop_apiserver(&self) -> Result<()> {
        self.own("stop the API server of")?;
        processes::kill(&control_plane::apiserver()?)
    }

    /// Starts the API server again with the data it had, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_apiserver(&self) -> Result<()> {
        let state = self.own("start the API server of")?;
        control_plane::start_apiserver(state, &Programs::install()?)
    }

    /// Restarts the kubelet; containers go on.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart_kubelet(&self) -> Result<()> {
        let state = self.own("restart the kubelet of")?;
        node::kubelet()?.stop()?;
        node::start_kubelet(state, &Programs::install()?)?;
        self.wait_until_ready()?;
        // Ready is what the kubelet before it said; this one has to learn of its pods.
        dns::wait_until_known(self)
    }

    /// The node's address, the same as the bridge's.
    #[must_use]
    pub fn node_ip(&self) -> &'static str {
        network::ADDRESS
    }

    /// Where pods reach what listens on that port of this machine's loopback. Ports 20000 to 29999
    /// and 32768 to 60999 are let through. Of another cluster, its nodes must route it here.
    #[must_use]
    pub fn address_for_pods(&self, port: u16) -> String {
        address_for_pods(port)
    }

    fn own(&self, action: &str) -> Result<&Path> {
        let path = self.kubeconfig.display();
        self.state.as_deref().with_context(|| format!("cannot {action} the cluster that {path} names"))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let wait = ["wait", "--for=condition=Ready", "node", network::NODE, "--timeout=60s"];
        // The node appears a moment after its kubelet listens.
        run(self.kubectl().args(["wait", "--for=create", "node", network::NODE, "--timeout=60s"]))
            .and_then(|()| run(self.kubectl().args(wait)))
            .context("the node does not become ready: see the logs of `testbed status`' processes")
    }
}

fn state() -> Result<PathBuf> {
    Ok(cache()?.join("testbed/kubernetes"))
}

/// One start or stop at a time, over all processes.
fn turn(state: &Path) -> Result<File> {
    let path = state.with_extension("lock");
    fs::create_dir_all(state.parent().context("the state has a parent")?)?;
    let file = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
    file.lock().with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

fn require_root() -> Result<()> {
    // A process's folder belongs to whom it runs as.
    if fs::metadata("/proc/self").context("failed to ask who runs this")?.uid() == 0 {
        return Ok(());
    }
    bail!("Kubernetes needs root: run it with sudo, or set {TEST_KUBECONFIG} to a cluster's kubeconfig")
}
