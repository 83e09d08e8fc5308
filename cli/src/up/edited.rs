//! Whether the manifests are still those that the run was started with.

use crate::folder::files;
use anyhow::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// What the files of a folder say, or why one cannot be read.
type Texts = BTreeMap<PathBuf, Result<Vec<u8>, String>>;
/// The same, or why the folder cannot be read.
type Look = Result<Texts, String>;

/// The files of a folder, as they were at the start, when they were looked at last, and when that was told.
#[derive(Debug)]
pub struct Manifests {
    folder: PathBuf,
    started: Texts,
    seen: Look,
    told: Look,
}

impl Manifests {
    /// As they are now; to be asked before the run reads them.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let now = read(folder)?;
        Ok(Self { folder: folder.to_owned(), started: now.clone(), seen: Ok(now.clone()), told: Ok(now) })
    }

    /// What differs from the start: once for each change, when two looks have found the same, since
    /// whoever writes a file may be in the middle of it.
    pub fn news(&mut self) -> Option<String> {
        let now = read(&self.folder).map_err(|error| format!("{error:#}"));
        if now != self.seen {
            self.seen = now;
            return None;
        }
        if now == self.told {
            return None;
        }
        self.told = now;
        Some(match &self.told {
            Ok(now) => self.differs(now),
            Err(error) => format!("changed   {error}"),
        })
    }

    fn differs(&self, now: &Texts) -> String {
        let all: BTreeSet<_> = self.started.keys().chain(now.keys()).collect();
        let changed: Vec<_> = all
            .into_iter()
            .filter(|file| self.started.get(*file) != now.get(*file))
            .map(|file| file.strip_prefix(&self.folder).unwrap_or(file).display().to_string())
            .collect();
        if changed.is_empty() {
            "changed   nothing any more: the manifests are those that `up` was started with".to_owned()
        } else {
            format!("changed   {}: counts when `up` is started again", changed.join(", "))
        }
    }
}

fn read(folder: &Path) -> Result<Texts> {
    let text = |file: PathBuf| match fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        text => Some((file, text.map_err(|error| error.to_string()))),
    };
    let gone = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    match files(folder) {
        Err(error) if gone(&error) => Ok(Texts::new()),
        files => Ok(files?.into_iter().filter_map(text).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::Manifests;
    use std::fs;

    #[test]
    fn each_change_is_told_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("it can be written");
        write("a.yaml", "a: 1");
        let mut manifests = Manifests::of(folder.path()).expect("the folder can be read");
        // What the first look finds may be in the middle of being written.
        let mut news = || {
            let first = manifests.news();
            assert_eq!(first, None);
            manifests.news().map(|line| line.split_once(':').expect("what that means is told").0.to_owned())
        };
        assert_eq!(news(), None);
        write("a.yaml", "a: 2");
        write("notes.txt", "not a manifest");
        assert_eq!(news().as_deref(), Some("changed   a.yaml"));
        assert_eq!(news(), None);
        write("b.yaml", "b: 1");
        fs::create_dir(folder.path().join("local")).expect("it can be made");
        write("local/companions.yaml", "{}");
        assert_eq!(news().as_deref(), Some("changed   a.yaml, b.yaml, local/companions.yaml"));
        write("a.yaml", "a: 1");
        fs::remove_file(folder.path().join("b.yaml")).expect("it is there");
        fs::remove_dir_all(folder.path().join("local")).expect("it is there");
        assert_eq!(news().as_deref(), Some("changed   nothing any more"));
        assert_eq!(news(), None);
        fs::remove_dir_all(folder.path()).expect("it is there");
        assert_eq!(news().as_deref(), Some("changed   a.yaml"));
    }
}
