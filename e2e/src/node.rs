//! AWS's official Lambda client for Node, kept in the cache.

use std::{fs, path::PathBuf, process::Command, sync::Mutex};
use tidemill_testbed::{cache, programs::run};

/// The client, as on npm: the last that runs on Node 20.
const CLIENT: &str = "aws-lambda-ric@3.3.0";

/// What `node` runs to start a function: the client's program, installed the first time.
///
/// Installing compiles curl and the client's native part, which takes minutes.
///
/// # Panics
/// When it cannot be installed.
#[must_use]
pub fn client() -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("installing has not panicked");
    let folder = cache().expect("the cache folder is known").join("node");
    let complete = folder.join(CLIENT);
    if !complete.is_file() {
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("the cache can be written");
        // npm fails with the last words of a compiler; these say what to do.
        for (program, package) in [
            ("npm", "npm"),
            ("autoconf", "autoconf"),
            ("automake", "automake"),
            ("libtoolize", "libtool"),
            ("cmake", "cmake"),
            ("make", "make"),
            ("g++", "g++"),
            ("python3", "python3"),
        ] {
            run(Command::new(program).arg("--version"))
                .unwrap_or_else(|error| panic!("{error:#} (Debian: apt-get install {package})"));
        }
        let options = ["--no-fund", "--no-audit", "--loglevel=error"];
        run(Command::new("npm").arg("install").args(options).arg("--prefix").arg(&folder).arg(CLIENT))
            .expect("npm has the client and its native part compiles");
        fs::write(&complete, "").expect("the cache can be written");
    }
    folder.join("node_modules/aws-lambda-ric/bin/index.mjs")
}
