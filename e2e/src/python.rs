//! A Python with AWS's official Lambda client, kept in the cache.

use std::{fs, path::PathBuf, process::Command, sync::Mutex};
use tidemill_testbed::{cache, programs::run};

/// The client, as on PyPI.
const CLIENT: &str = "awslambdaric==4.2.2";

/// A `python` that has `awslambdaric`, installed the first time.
///
/// # Panics
/// When it cannot be installed.
#[must_use]
pub fn with_client() -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("installing has not panicked");
    let folder = cache().expect("the cache folder is known").join("python");
    let python = folder.join("bin/python");
    let complete = folder.join(CLIENT);
    if !complete.is_file() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .expect("python3 can make an environment (Debian: apt-get install python3-venv)");
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT]))
            .expect("PyPI has the client");
        fs::write(&complete, "").expect("the cache can be written");
    }
    python
}
