//! The images that the cluster itself needs, and how the node gets one.

use super::{
    node,
    programs::{Programs, folder},
};
use crate::programs::run;
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tidemill_images::{Image, Layer, Tree};

/// The image that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/tidemill/testbed-pause:1";
/// The DNS server; `testbed/kubernetes/coredns.yaml` names it too.
const COREDNS: &str = "docker.io/tidemill/testbed-coredns:1.12.4";

/// Writes the archives that are missing.
pub fn prepare(programs: &Programs) -> Result<[PathBuf; 2]> {
    let archives = folder()?.with_file_name("images");
    fs::create_dir_all(&archives)?;
    let pause = write(&archives.join("pause.tar"), PAUSE, &programs.path("pause"))?;
    let coredns = write(&archives.join("coredns.tar"), COREDNS, &programs.coredns)?;
    Ok([pause, coredns])
}

fn write(archive: &Path, name: &str, program: &Path) -> Result<PathBuf> {
    if !archive.is_file() {
        let layer = Layer::new(&Tree::default().copy("/program", program, 0o755))?;
        let entrypoint = vec!["/program".to_owned()];
        Image { name, layers: &[&layer], entrypoint, environment: Vec::new(), user: "" }
            .write(archive)
            .with_context(|| format!("failed to write the image {name}"))?;
    }
    Ok(archive.to_owned())
}

/// Gives the node the images of an archive.
pub fn import(archive: &Path) -> Result<()> {
    run(Command::new("ctr")
        .args(["--address", &node::socket(), "--namespace", "k8s.io", "images", "import"])
        .arg(archive))
    .with_context(|| format!("failed to load {}: does the cluster run (testbed kubernetes start)?", archive.display()))
}
