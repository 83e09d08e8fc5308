//! proto/: the Rust types of the Protobuf messages, and the schemas that were released.
//!
//! A release is a numbered folder that is never changed again; the tests of the `proto` crate
//! register one after the other, and ask whether the present schemas may follow.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is done; the types are written where nothing else is asked for.
#[derive(clap::Args)]
pub struct Args {
    /// Compare the types with the committed ones instead of writing them.
    #[arg(long, conflicts_with = "release")]
    check: bool,
    /// Keep the present schemas as the next release, where they differ from the last.
    #[arg(long)]
    release: bool,
}

/// Writes or compares the types, or makes a release.
pub fn run(root: &Path, args: &Args) -> Result<()> {
    let folder = root.join("proto");
    let schemas = schemas(&folder)?;
    if args.release {
        return release(&folder, &schemas);
    }
    let types = tempfile::tempdir()?;
    let descriptors = protox::compile(&schemas, [&folder]).context("the schemas do not compile")?;
    prost_build::Config::new().btree_map(["."]).out_dir(types.path()).compile_fds(descriptors)?;
    let committed = folder.join("src/generated");
    let (now, then) = (files(types.path())?, files(&committed)?);
    if args.check {
        if now != then {
            bail!("{} is not current: run `cargo run --release -p xtask -- proto`", committed.display());
        }
        return Ok(());
    }
    for (name, _) in then.iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name)) {
        fs::remove_file(committed.join(name))?;
    }
    write(&committed, &now)
}

fn release(folder: &Path, schemas: &[PathBuf]) -> Result<()> {
    let released = folder.join("released");
    let number = (1..).take_while(|number| released.join(number.to_string()).is_dir()).last().unwrap_or(0);
    let mut present = Vec::new();
    for path in schemas {
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        present.push((name, fs::read_to_string(path)?));
    }
    if number > 0 && files(&released.join(number.to_string()))? == present {
        println!("the schemas are those of release {number}");
        return Ok(());
    }
    write(&released.join((number + 1).to_string()), &present)?;
    println!("release {} is written: its tests say whether it may follow", number + 1);
    Ok(())
}

fn schemas(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let paths = paths.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut schemas: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "proto")).collect();
    schemas.sort();
    Ok(schemas)
}

/// Names and texts, by name.
fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path()).with_context(|| entry.path().display().to_string())?;
        files.push((entry.file_name().to_string_lossy().into_owned(), text));
    }
    files.sort();
    Ok(files)
}

fn write(folder: &Path, files: &[(String, String)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
