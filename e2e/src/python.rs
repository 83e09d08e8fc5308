//! Pythons with official clients, kept in the cache.

use std::{fs, path::PathBuf, process::Command, sync::Mutex};
use tidemill_testbed::{cache, programs::run};

/// A `python` that has AWS's Lambda client, installed the first time.
///
/// # Panics
/// When it cannot be installed.
#[must_use]
pub fn with_client() -> PathBuf {
    with("python", "awslambdaric==4.2.2")
}

/// A `python` that has Confluent's Kafka client with its serializers, installed the first time.
///
/// # Panics
/// When it cannot be installed.
#[must_use]
pub fn with_serializers() -> PathBuf {
    with("python-confluent", "confluent-kafka[avro,json,protobuf]==2.16.0")
}

fn with(name: &str, package: &str) -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("installing has not panicked");
    let folder = cache().expect("the cache folder is known").join(name);
    let python = folder.join("bin/python");
    let complete = folder.join(package);
    if !complete.is_file() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .expect("python3 can make an environment (Debian: apt-get install python3-venv)");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]))
            .expect("PyPI has the package");
        fs::write(&complete, "").expect("the cache can be written");
    }
    python
}
