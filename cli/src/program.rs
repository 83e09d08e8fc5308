//! Which program runs a function on this machine, and with what environment.

use anyhow::{Result, bail};
use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tidemill_api::{Function, annotations::LOCAL_COMMAND};

/// A function's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
}

/// Finds the program of a function: the annotation's command line; else a program named like
/// the image, in `<folder>/<name>/bootstrap` or beside this program.
///
/// # Errors
/// When there is none; the places looked in are named.
pub fn find(function: &Function, folder: &Path) -> Result<Program> {
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let directory = std::path::absolute(folder)?;
    let annotations = function.metadata.annotations.as_ref();
    if let Some(line) = annotations.and_then(|all| all.get(LOCAL_COMMAND)) {
        let Some(mut command) = shlex::split(line).filter(|words| !words.is_empty()) else {
            bail!("function {name}: the annotation {LOCAL_COMMAND} is not a command line: `{line}`");
        };
        let beside = directory.join(&command[0]);
        if is_program(&beside) {
            command[0] = beside.display().to_string();
        } else if !on_path(&command[0]) {
            bail!(
                "function {name}: `{}` of the annotation {LOCAL_COMMAND} is neither in {} nor on the path",
                command[0],
                directory.display()
            );
        }
        return Ok(Program { command, directory });
    }
    let Some(image) = &function.spec.image else {
        bail!("function {name}: `package` is not fetched here: name its program with the annotation {LOCAL_COMMAND}");
    };
    let base = image.rsplit('/').next().unwrap_or(image);
    let base = base.split([':', '@']).next().unwrap_or(base);
    let own = std::env::current_exe()?;
    let places = [directory.join(base).join("bootstrap"), own.with_file_name(base)];
    match places.iter().find(|place| is_program(place)) {
        Some(place) => Ok(Program { command: vec![place.display().to_string()], directory }),
        None => bail!(
            "function {name}: no program for image `{image}`: neither {} nor {} is there. Build it (`make build`), or name it with the annotation {LOCAL_COMMAND}",
            places[0].display(),
            places[1].display()
        ),
    }
}

/// The environment that the manifest sets, over `defaults`.
///
/// # Errors
/// When a value comes from a secret or a config map, which this machine does not have.
pub fn environment(function: &Function, defaults: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let name = function.metadata.name.as_deref().unwrap_or_default();
    let mut environment = defaults.clone();
    if !function.spec.env_from.is_empty() {
        bail!(
            "function {name}: `envFrom` needs a cluster: set the variables in local/companions.yaml's `env` instead, in a copy of the manifest without `envFrom`"
        );
    }
    for variable in &function.spec.env {
        match (&variable.value, &variable.value_from) {
            (Some(value), None) => drop(environment.insert(variable.name.clone(), value.clone())),
            (None, None) => drop(environment.insert(variable.name.clone(), String::new())),
            (_, Some(_)) if environment.contains_key(&variable.name) => {}
            (_, Some(_)) => bail!(
                "function {name}: env {}: `valueFrom` needs a cluster: set {} in local/companions.yaml's `env`",
                variable.name,
                variable.name
            ),
        }
    }
    Ok(environment)
}

/// The program of a companion: in the folder, beside this program, or on the path.
///
/// # Errors
/// When it is nowhere.
pub fn companion(name: &str, folder: &Path) -> Result<PathBuf> {
    let places = [folder.join(name), std::env::current_exe()?.with_file_name(name)];
    match places.into_iter().find(|place| is_program(place)) {
        Some(place) => Ok(std::path::absolute(place)?),
        None if on_path(name) => Ok(name.into()),
        None => bail!("`{name}` of local/companions.yaml is not there: build it (`make build`), or put it on the path"),
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn on_path(name: &str) -> bool {
    if name.contains('/') {
        return is_program(Path::new(name));
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| is_program(&folder.join(name))))
}
