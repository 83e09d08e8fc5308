//! A folder of manifests, read and checked as a whole.
//!
//! Every problem of every file is found before anything is started.

use crate::local::Local;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tidemill_api::{
    Function, KafkaCluster, Topic,
    check::{self, Problem},
    manifest::{self, Resource},
};

/// The file that only `tidemill up` reads; in a folder of its own, so that `kubectl apply -f`
/// of the manifests does not meet it.
const LOCAL: &str = "local/companions.yaml";

/// What a folder declares.
#[derive(Debug, Default)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Functions, each with the folder of its file.
    pub functions: Vec<(Function, PathBuf)>,
    /// Connections.
    pub clusters: Vec<KafkaCluster>,
    /// Topics.
    pub topics: Vec<Topic>,
    /// What runs beside the functions.
    pub local: Local,
}

/// A problem in a file.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, beginning with 1.
    pub line: usize,
    /// The field.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file.display(), self.line, self.field, self.message)
    }
}

impl Folder {
    /// Reads the YAML files of a folder, not those of folders in it.
    ///
    /// # Errors
    /// When the folder cannot be read, or one of the manifests would be refused.
    pub fn read(path: &Path) -> Result<Self> {
        let mut folder = Self { path: path.to_owned(), ..Self::default() };
        let mut findings = Vec::new();
        let files = yaml_files(path)?;
        if files.is_empty() {
            bail!("{} has no manifests (*.yaml): name a folder that has, such as examples/market", path.display());
        }
        for file in files {
            folder.add(resources(&file, &mut findings)?, path);
        }
        let local = path.join(LOCAL);
        if local.is_file() {
            folder.local = Local::read(&local)?;
        }
        folder.one_of_each(&mut findings);
        if findings.is_empty() {
            return Ok(folder);
        }
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        bail!("the manifests are refused:\n  {}", lines.join("\n  "))
    }

    fn add(&mut self, resources: Vec<Resource>, place: &Path) {
        for resource in resources {
            match resource {
                Resource::Function(function) => self.functions.push((*function, place.to_owned())),
                Resource::KafkaCluster(cluster) => self.clusters.push(*cluster),
                Resource::Topic(topic) => self.topics.push(*topic),
            }
        }
    }

    fn one_of_each(&self, findings: &mut Vec<Finding>) {
        let mut names: Vec<_> =
            self.functions.iter().filter_map(|(function, _)| function.metadata.name.clone()).collect();
        names.sort();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            findings.push(Finding {
                file: self.path.clone(),
                line: 1,
                field: "metadata.name".to_owned(),
                message: format!("two functions are named `{}`: rename one", pair[0]),
            });
        }
    }
}

/// The resources of one file; what is wrong goes to `findings`.
///
/// # Errors
/// When the file cannot be read.
pub fn resources(file: &Path, findings: &mut Vec<Finding>) -> Result<Vec<Resource>> {
    let mut found = |line, field: &str, message: String| {
        findings.push(Finding { file: file.to_owned(), line, field: field.to_owned(), message });
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            found(1, "(file)", format!("it cannot be read: {error}"));
            return Ok(Vec::new());
        }
    };
    let documents = match manifest::documents(&text) {
        Ok(documents) => documents,
        Err(error) => {
            found(error.line, "(document)", error.to_string());
            return Ok(Vec::new());
        }
    };
    let mut resources = Vec::new();
    for document in documents {
        match check::resource(&document) {
            Ok(resource) => resources.extend(resource),
            Err(problems) => {
                for Problem { line, field, message } in problems {
                    found(line, &field, message);
                }
            }
        }
    }
    Ok(resources)
}

/// The YAML files of a folder, by name; a file stands for itself.
///
/// # Errors
/// When the folder cannot be read.
pub fn yaml_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("failed to read the folder {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
