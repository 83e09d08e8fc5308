//! The folder in which a run keeps what must outlive it, held by one run at a time.

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// Below this, starting would only fail later, in a worse place. In bytes.
const SPACE_TO_START: u64 = 32 << 20;
/// Below this, a run ends while the broker and Redis can still write down what is under way. In
/// bytes.
const SPACE_TO_GO_ON: u64 = 8 << 20;

/// The folder, locked.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    /// Makes and locks the folder; with `fresh`, what earlier runs kept is forgotten.
    ///
    /// # Errors
    /// When another run holds it, or it cannot be written.
    pub fn open(path: &Path, fresh: bool) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let hint = || format!("failed to use the state folder {}: choose another with --state", path.display());
        fs::create_dir_all(&path).with_context(hint)?;
        let file = path.join("lock");
        let mut lock =
            File::options().create(true).truncate(false).read(true).write(true).open(&file).with_context(hint)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).with_context(hint)?;
                bail!(
                    "another `tidemill up` (process {}) uses {}: stop it first, or choose another folder with --state",
                    holder.trim(),
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(hint),
        }
        lock.set_len(0).with_context(hint)?;
        write!(lock, "{}", std::process::id()).with_context(hint)?;
        let state = Self { path, _lock: lock };
        state.has_space(SPACE_TO_START)?;
        if fresh {
            for name in ["kafka", "redis", "s3", "schedules", "ports", "logs", "run"] {
                let old = state.path.join(name);
                if old.exists() {
                    fs::remove_dir_all(&old).with_context(|| format!("failed to remove {}", old.display()))?;
                }
            }
        }
        Ok(state)
    }

    /// Whether there is the disk space to go on.
    ///
    /// # Errors
    /// When there is not: the run should end before writing fails.
    pub fn can_go_on(&self) -> Result<()> {
        self.has_space(SPACE_TO_GO_ON)
    }

    fn has_space(&self, least: u64) -> Result<()> {
        let path = self.path.display();
        let space = statvfs(&self.path).with_context(|| format!("failed to ask for the disk space of {path}"))?;
        let free = space.blocks_available().saturating_mul(space.fragment_size());
        if free < least {
            bail!(
                "the state folder {path} has {} KiB of disk space left, and at least {} MiB are needed: free some and run it again, or choose another folder with --state",
                free >> 10,
                least >> 20
            );
        }
        Ok(())
    }

    /// A folder in it, made where it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        Ok(folder)
    }
}
