//! A small file system, for running out of space.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};
use tempfile::TempDir;
use tidemill_testbed::programs::run;

/// A file system in memory, as long as it is held. Mounting needs root, or `sudo`.
#[derive(Debug)]
pub struct Disk(TempDir);

impl Disk {
    /// One of `size`, such as `8m`.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = format!("size={size}");
        as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        Self(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy"], self.path());
    }
}

fn as_root(words: &[&str], path: &Path) {
    let root = fs::metadata("/proc/self").expect("/proc is there").uid() == 0;
    let words: Vec<_> = (!root).then_some("sudo").into_iter().chain(words.iter().copied()).collect();
    run(Command::new(words[0]).args(&words[1..]).arg(path)).expect("a small file system needs root or sudo");
}
