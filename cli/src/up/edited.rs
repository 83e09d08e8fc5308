//! Whether the manifests are still those that the run was started with.

use crate::folder::yaml_files;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The manifests of a folder, as they were looked at last.
#[derive(Debug)]
pub struct Manifests {
    folder: PathBuf,
    known: BTreeMap<PathBuf, Vec<u8>>,
}

impl Manifests {
    /// As they are now.
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), known: read(folder).unwrap_or_default() }
    }

    /// What to say of those that have changed since, have come or have gone: once for each change.
    pub fn news(&mut self) -> Option<String> {
        // What cannot be read at this moment is looked at again.
        let now = read(&self.folder)?;
        let all: BTreeSet<_> = self.known.keys().chain(now.keys()).collect();
        let changed: Vec<_> = all
            .into_iter()
            .filter(|file| self.known.get(*file) != now.get(*file))
            .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        self.known = now;
        (!changed.is_empty()).then(|| format!("edited    {}: counts when `up` is started again", changed.join(", ")))
    }
}

fn read(folder: &Path) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
    let files = yaml_files(folder).ok()?;
    files.into_iter().map(|file| fs::read(&file).ok().map(|bytes| (file, bytes))).collect()
}

#[cfg(test)]
mod tests {
    use super::Manifests;
    use std::fs;

    #[test]
    fn each_change_is_told_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("a.yaml"), "a: 1").expect("the folder can be written");
        let mut manifests = Manifests::of(folder.path());
        let mut news = || manifests.news().map(|line| line.split(':').next().unwrap_or_default().to_owned());
        assert_eq!(news(), None);
        fs::write(file("a.yaml"), "a: 2").expect("the folder can be written");
        fs::write(file("notes.txt"), "not a manifest").expect("the folder can be written");
        assert_eq!(news().as_deref(), Some("edited    a.yaml"));
        assert_eq!(news(), None);
        fs::write(file("b.yaml"), "b: 1").expect("the folder can be written");
        fs::remove_file(file("a.yaml")).expect("it is there");
        assert_eq!(news().as_deref(), Some("edited    a.yaml, b.yaml"));
        assert_eq!(news(), None);
    }
}
