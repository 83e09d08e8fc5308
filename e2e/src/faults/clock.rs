//! A clock that one process believes: a library that is loaded before libc's, and looks into a file
//! for how far it is off each time, so that it jumps while the process runs.
//!
//! libfaketime would be that library, but it never returns from its own start in a program whose
//! allocator is jemalloc, as the runner's is. `CLOCK_MONOTONIC` stays as it is, as it does where
//! somebody sets a machine's clock; what waits on a condition until a time of day feels the jump.

use super::programs;
use std::fs;
use tempfile::TempDir;

/// A clock that can be set.
#[derive(Debug)]
pub struct Clock {
    folder: TempDir,
}

impl Clock {
    /// One that is right.
    ///
    /// # Panics
    /// When there is no C compiler.
    #[must_use]
    pub fn new() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::write(clock.path("clock.c"), include_str!("clock.c")).expect("the folder can be written");
        programs(&format!("cc -O2 -shared -fPIC -o {} {}", clock.path("clock.so"), clock.path("clock.c")));
        clock.set(0);
        clock
    }

    /// Sets it so many seconds ahead.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, ahead: i64) {
        // The same file, since processes have it in their memory; eight bytes are written at once.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.path("off"));
        let mut file = file.expect("the folder can be written");
        std::io::Write::write_all(&mut file, &ahead.to_ne_bytes()).expect("the folder can be written");
    }

    /// What makes a process believe it.
    #[must_use]
    pub fn variables(&self) -> [(String, String); 2] {
        [("LD_PRELOAD".to_owned(), self.path("clock.so")), ("TIDEMILL_CLOCK".to_owned(), self.path("off"))]
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
