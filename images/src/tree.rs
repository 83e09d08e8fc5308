//! The files of one layer, by their path in the image. Parents come with their children.

use crate::Error;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The files of one layer.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder { mode: u32 },
    Copy { from: PathBuf, mode: u32 },
    Bytes { content: Vec<u8>, mode: u32 },
}

impl Tree {
    /// An empty folder.
    #[must_use]
    pub fn folder(self, path: impl AsRef<Path>, mode: u32) -> Self {
        self.with(path.as_ref(), Entry::Folder { mode })
    }

    /// A copy of a file of this machine; a link is followed.
    #[must_use]
    pub fn copy(self, path: impl AsRef<Path>, from: impl Into<PathBuf>, mode: u32) -> Self {
        self.with(path.as_ref(), Entry::Copy { from: from.into(), mode })
    }

    /// A file of that content, which all may read.
    #[must_use]
    pub fn text(self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) -> Self {
        self.with(path.as_ref(), Entry::Bytes { content: content.into(), mode: 0o644 })
    }

    fn with(mut self, path: &Path, entry: Entry) -> Self {
        // Paths in a layer are relative to the image's root.
        let path = path.strip_prefix("/").unwrap_or(path);
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.entries.entry(parent.to_owned()).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), entry);
        self
    }

    /// Writes the files as a tar archive: sorted, times zero, owned by root.
    pub(crate) fn write_tar(&self, to: impl Write) -> Result<(), Error> {
        let mut archive = tar::Builder::new(to);
        for (path, entry) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mode(entry.mode());
            let content = match entry {
                Entry::Folder { .. } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, path, std::io::empty())?;
                    continue;
                }
                Entry::Copy { from, .. } => &read(from)?,
                Entry::Bytes { content, .. } => content,
            };
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice())?;
        }
        archive.finish()?;
        Ok(())
    }

    /// Writes the files into a folder, for builders that copy one.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn unpack(&self, folder: &Path) -> Result<(), Error> {
        for (path, entry) in &self.entries {
            let path = folder.join(path);
            let failed = |source| Error::Write { path: path.clone(), source };
            match entry {
                Entry::Folder { .. } => fs::create_dir_all(&path).map_err(failed)?,
                Entry::Copy { from, .. } => fs::write(&path, read(from)?).map_err(failed)?,
                Entry::Bytes { content, .. } => fs::write(&path, content).map_err(failed)?,
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode())).map_err(failed)?;
        }
        Ok(())
    }
}

impl Entry {
    const fn mode(&self) -> u32 {
        match self {
            Self::Folder { mode } | Self::Copy { mode, .. } | Self::Bytes { mode, .. } => *mode,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}
