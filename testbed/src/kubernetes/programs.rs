//! The programs of the cluster: Kubernetes' own are built from its Go module, the rest are Debian's.

use crate::{cache, programs::run};
use anyhow::{Context, Result, bail};
use std::{env, fs, path::PathBuf, process::Command};

/// The Debian packages that the cluster needs.
pub const PACKAGES: [&str; 8] =
    ["conntrack", "containerd", "containernetworking-plugins", "etcd-server", "iproute2", "iptables", "mount", "runc"];
/// Where Debian keeps the network plugins.
pub const NETWORK_PLUGINS: &str = "/usr/lib/cni";

const VERSION: &str = "1.34.4";
const GO_MOD: &str = include_str!("../../kubernetes/go.mod");
const GO_SUM: &str = include_str!("../../kubernetes/go.sum");
const PAUSE: &str = include_str!("../../kubernetes/pause/main.go");
const BUILT: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];
/// Version and path of what `go install` builds.
const COREDNS: &str = "github.com/coredns/coredns@v1.12.4";
const HELM: &str = "helm.sh/helm/v3/cmd/helm@v3.19.2";

/// The programs that were built.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    /// CoreDNS.
    pub coredns: PathBuf,
}

impl Programs {
    /// Finds them, and builds what is missing.
    pub fn install() -> Result<Self> {
        check_packages()?;
        let folder = folder()?;
        let complete = folder.with_file_name("complete");
        if !complete.is_file() {
            eprintln!("testbed: building Kubernetes {VERSION} into {} (about five minutes)", folder.display());
            for program in BUILT {
                build(program, &format!("k8s.io/kubernetes/cmd/{program}"))?;
            }
            fs::write(complete, "")?;
        }
        if !folder.join("pause").is_file() {
            build("pause", "./pause")?;
        }
        Ok(Self { folder, coredns: install("coredns", COREDNS)? })
    }

    /// The path of one of Kubernetes' programs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Where Kubernetes' programs are.
pub fn folder() -> Result<PathBuf> {
    Ok(cache()?.join(format!("kubernetes-{VERSION}/bin")))
}

/// Helm, built where it is missing.
pub fn helm() -> Result<PathBuf> {
    install("helm", HELM)
}

fn build(program: &str, package: &str) -> Result<()> {
    let folder = folder()?;
    let source = folder.with_file_name("source");
    fs::create_dir_all(source.join("pause"))?;
    fs::create_dir_all(&folder)?;
    fs::write(source.join("go.mod"), GO_MOD)?;
    fs::write(source.join("go.sum"), GO_SUM)?;
    fs::write(source.join("pause/main.go"), PAUSE)?;
    run(go("build").arg("-o").arg(folder.join(program)).arg(package).current_dir(&source))
        .with_context(|| format!("failed to build {program}: Go 1.24 or newer is needed"))
}

fn install(program: &str, package: &str) -> Result<PathBuf> {
    let folder = cache()?.join("bin");
    let path = folder.join(program);
    if !path.is_file() {
        eprintln!("testbed: building {package} into {} (some minutes)", folder.display());
        run(go("install").arg(package).env("GOBIN", &folder))
            .with_context(|| format!("failed to build {program}: Go 1.24 or newer is needed"))?;
    }
    Ok(path)
}

/// Programs that need no library, so that they run in an image of their own.
fn go(action: &str) -> Command {
    let mut command = Command::new("go");
    // Charts ask for the version, which a build outside of Kubernetes' own tree has to be told.
    let version = format!("-X k8s.io/component-base/version.gitVersion=v{VERSION}");
    command.env("CGO_ENABLED", "0").args([action, "-trimpath", "-ldflags", &format!("-s -w {version}")]);
    command
}

fn check_packages() -> Result<()> {
    let needed = [
        ("conntrack", "conntrack"),
        ("containerd", "containerd"),
        ("ctr", "containerd"),
        ("etcd", "etcd-server"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("runc", "runc"),
        ("umount", "mount"),
    ];
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |program: &&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if let Some((program, package)) = needed.iter().find(|(program, _)| !there(program)) {
        bail!("{program} is not on the PATH (Debian: apt-get install {package}; its folder may be /usr/sbin)");
    }
    if !PathBuf::from(NETWORK_PLUGINS).join("bridge").is_file() {
        bail!("{NETWORK_PLUGINS}/bridge is missing (Debian: apt-get install containernetworking-plugins)");
    }
    Ok(())
}
