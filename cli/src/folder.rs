//! A folder of manifests, read and checked as a whole.
//!
//! Every problem of every file is found before anything is started.

use crate::local::Local;
use anyhow::{Context, Result, bail};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};
use tidemill_api::{
    Function, KafkaCluster, Topic,
    check::{self, Problem},
    manifest::{self, Document, Resource},
    plan::Plan,
};
use tidemill_runner::config::{self, Unsupported};

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
        let mut reading = Reading::default();
        let files = yaml_files(path)?;
        if files.is_empty() {
            bail!("{} has no manifests (*.yaml): name a folder that has, such as examples/market", path.display());
        }
        for file in files {
            reading.file(&file);
        }
        reading.whole(Unique::InFolder);
        let local = path.join(LOCAL);
        if local.is_file() {
            folder.local = Local::read(&local)?;
        }
        if reading.findings.is_empty() {
            for found in reading.found {
                folder.add(found.resource, path);
            }
            return Ok(folder);
        }
        let lines: Vec<_> = reading.findings.iter().map(ToString::to_string).collect();
        bail!("the manifests are refused:\n  {}", lines.join("\n  "))
    }

    fn add(&mut self, resource: Resource, place: &Path) {
        match resource {
            Resource::Function(function) => self.functions.push((*function, place.to_owned())),
            Resource::KafkaCluster(cluster) => self.clusters.push(*cluster),
            Resource::Topic(topic) => self.topics.push(*topic),
        }
    }
}

/// A resource, and where it stands.
#[derive(Debug)]
struct Found {
    resource: Resource,
    document: Document,
    file: PathBuf,
}

/// What was read of files: what is accepted, and what is wrong with the rest.
#[derive(Debug, Default)]
pub struct Reading {
    found: Vec<Found>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Manifests refused; a file that is not YAML is one.
    pub refused: usize,
}

/// Which functions must not have one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Those of a namespace, as in a cluster.
    InNamespace,
    /// All of a folder, as on this machine.
    InFolder,
}

impl Reading {
    /// Reads a file and checks its manifests one by one.
    pub fn file(&mut self, file: &Path) {
        let found =
            |line, field: &str, message| Finding { file: file.to_owned(), line, field: field.to_owned(), message };
        let documents = match fs::read_to_string(file) {
            Err(error) => Err(found(1, "(file)", format!("it cannot be read: {error}"))),
            Ok(text) => manifest::documents(&text).map_err(|error| found(error.line, "(document)", error.to_string())),
        };
        let documents = documents.unwrap_or_else(|finding| {
            self.refuse([finding]);
            Vec::new()
        });
        for document in documents {
            match check::resource(&document) {
                Ok(None) => {}
                Ok(Some(resource)) => self.found.push(Found { resource, document, file: file.to_owned() }),
                Err(problems) => self.refuse(problems.into_iter().map(|problem| {
                    let message = remedy(&problem);
                    found(problem.line, &problem.field, message)
                })),
            }
        }
    }

    /// Checks what needs more than a manifest of its own: names, what this version can do, loops.
    pub fn whole(&mut self, unique: Unique) {
        let (mut names, mut readers) = (BTreeMap::new(), BTreeMap::new());
        for found in std::mem::take(&mut self.found) {
            let findings = found.problems(&mut names, &mut readers, unique);
            if findings.is_empty() {
                self.found.push(found);
            } else {
                self.refuse(findings);
            }
        }
    }

    /// How many manifests are accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.found.len()
    }

    fn refuse(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
        self.refused += 1;
    }
}

/// Folder, namespace and name of a function → where it stands.
type Names = BTreeMap<(Option<PathBuf>, String, String), String>;

/// Folder, cluster, group and topic → which function reads it.
type Readers = BTreeMap<(Option<PathBuf>, String, String, String), String>;

impl Found {
    fn problems(&self, names: &mut Names, readers: &mut Readers, unique: Unique) -> Vec<Finding> {
        let Resource::Function(function) = &self.resource else { return Vec::new() };
        let mut findings = Vec::new();
        let plan = Plan::of(function);
        let space = if unique == Unique::InNamespace { plan.namespace.clone() } else { String::new() };
        let place = format!("{}:{}", self.file.display(), self.document.line("/metadata/name"));
        let folder = self.file.parent().map(Path::to_owned);
        match names.entry((folder.clone(), space, plan.name.clone())) {
            Entry::Vacant(entry) => drop(entry.insert(place)),
            Entry::Occupied(first) => {
                let message =
                    format!("two functions are named `{}`: rename this one or that of {}", plan.name, first.get());
                findings.push(self.finding("metadata.name", message));
            }
        }
        if let Some(kafka) = plan.kafka() {
            for topic in &kafka.topics {
                let place = (folder.clone(), kafka.cluster.clone(), kafka.group.clone(), topic.clone());
                let other = readers.entry(place).or_insert_with(|| plan.full_name());
                if *other != plan.full_name() {
                    let message = format!(
                        "function `{other}` reads `{topic}` in the group `{}` too, and each would get only some of its records: name another group",
                        kafka.group
                    );
                    findings.push(self.finding("spec.trigger.kafka.group", message));
                }
            }
        }
        if let Err(Unsupported { field, remedy }) = config::supported(&plan) {
            let (field, what) = match field.split_once(": ") {
                Some((field, value)) => (field, format!("`{value}` is")),
                None => (field, "is".to_owned()),
            };
            findings.push(self.finding(field, format!("{what} not supported by this version: {remedy}")));
        }
        if let (Some(kafka), Some(output)) = (&function.spec.trigger.kafka, &function.spec.output)
            && output.cluster.as_ref().is_none_or(|cluster| *cluster == kafka.cluster)
            && kafka.topics.contains(&output.topic)
        {
            let message = format!(
                "`{}` is one of the trigger's topics, and its outputs would come back for ever: write to another topic",
                output.topic
            );
            findings.push(self.finding("spec.output.topic", message));
        }
        findings
    }

    fn finding(&self, field: &str, message: String) -> Finding {
        let line = self.document.line(&format!("/{}", field.replace('.', "/")));
        Finding { file: self.file.clone(), line, field: field.to_owned(), message }
    }
}

/// The message of a problem; for an unknown field that is nearly a known one, that one.
fn remedy(problem: &Problem) -> String {
    let written = problem.field.rsplit('.').next().unwrap_or_default();
    let distance = |known: &&String| strsim::damerau_levenshtein(written, known);
    let nearest = problem.known.iter().min_by_key(distance);
    match nearest.filter(|known| distance(known) <= written.len().div_ceil(3)) {
        Some(known) => format!("is not a field here: did you mean `{known}`?"),
        None => problem.message.clone(),
    }
}

/// All files that `up` reads of a folder.
///
/// # Errors
/// When it cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = yaml_files(path)?;
    files.extend(Some(path.join(LOCAL)).filter(|local| local.is_file()));
    Ok(files)
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
