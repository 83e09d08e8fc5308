//! The market example, and copies of it that a test may change.

use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// `examples/market`.
#[must_use]
pub fn folder() -> PathBuf {
    // Asked when it runs: clones share compiled programs, and each has its own files.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for a test");
    PathBuf::from(own).join("../examples/market")
}

/// A copy of the manifests.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn copy() -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(copy.path().join("local")).expect("it can be written");
    for part in ["", "local"] {
        for entry in fs::read_dir(folder().join(part)).expect("the example is there") {
            let file = entry.expect("the example can be read").path();
            if file.is_file() {
                let name = file.file_name().expect("a file has a name");
                fs::copy(&file, copy.path().join(part).join(name)).expect("it can be copied");
            }
        }
    }
    copy
}

/// Replaces a text in one of the files.
///
/// # Panics
/// When the text is not there.
pub fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let file = folder.join(file);
    let text = fs::read_to_string(&file).expect("the file can be read");
    assert!(text.contains(from), "{} has no `{from}`", file.display());
    fs::write(&file, text.replace(from, to)).expect("the file can be written");
}
