//! Go functions on AWS's official Lambda client.

use crate::kube::root;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};
use tidemill_testbed::{cache, programs::run};

/// The folder of the tests' Go function; its `go.mod` pins the client.
#[must_use]
pub fn source() -> PathBuf {
    root().join("e2e/functions/go")
}

/// The program of [`source`], kept in the cache.
///
/// It is built again each time: Go's own cache knows whether anything changed.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn function() -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("building has not panicked");
    let folder = cache().expect("the cache folder is known").join("go");
    fs::create_dir_all(&folder).expect("the cache can be written");
    // Another test program may be running the last one: a file that runs cannot be written, but
    // can be replaced.
    let built = tempfile::tempdir_in(&folder).expect("the cache can be written");
    let program = folder.join("answer");
    fs::rename(build(&source(), built.path()), &program).expect("the cache can be written");
    program
}

/// The program of a Go folder, built into another folder.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn build(source: &Path, folder: &Path) -> PathBuf {
    let program = folder.join("function");
    run(Command::new("go")
        .args(["build", "-mod=readonly", "-buildvcs=false", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0"))
    .expect("the Go function is built (Go 1.18 or newer; Debian: apt-get install golang-go)");
    program
}
