//! The folder in which a run keeps what must outlive it, held by one run at a time.

use anyhow::{Context, Result, bail};
use nix::sys::statvfs::statvfs;
use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// Below this, starting would only fail later, in a worse place. In bytes.
const LEAST_SPACE: u64 = 32 << 20;

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
        let space = statvfs(&path).with_context(hint)?;
        let free = space.blocks_available().saturating_mul(space.fragment_size());
        if free < LEAST_SPACE {
            bail!(
                "the state folder {} has {} KiB of disk space left, and at least {} MiB are needed: free some, or choose another folder with --state",
                path.display(),
                free >> 10,
                LEAST_SPACE >> 20
            );
        }
        if fresh {
            for name in ["kafka", "redis", "s3", "schedules", "ports", "logs", "run"] {
                let old = path.join(name);
                if old.exists() {
                    fs::remove_dir_all(&old).with_context(|| format!("failed to remove {}", old.display()))?;
                }
            }
        }
        Ok(Self { path, _lock: lock })
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
