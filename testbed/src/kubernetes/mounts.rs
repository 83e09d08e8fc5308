//! What is mounted below a folder, and where control groups are mounted.

use crate::programs::run;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Unmounts all that is mounted below the folders. Afterwards they may be removed: nothing of
/// others shows through them.
pub fn remove_below(folders: &[&Path]) -> Result<()> {
    let below = || -> Result<Vec<_>> {
        let mut points: Vec<_> = all()?.into_iter().map(|(point, _)| point).collect();
        points.retain(|point| folders.iter().any(|folder| point.starts_with(folder)));
        Ok(points)
    };
    let mut points = below()?;
    if points.is_empty() {
        return Ok(());
    }
    points.reverse();
    run(Command::new("umount").arg("--lazy").args(&points)).context("failed to unmount what pods used")?;
    if let Some(point) = below()?.first() {
        bail!("{} is still mounted: unmount it, then try again", point.display());
    }
    Ok(())
}

/// Where the hierarchies of control groups are.
pub fn cgroup_hierarchies() -> Result<Vec<PathBuf>> {
    let is_cgroup = |kind: &str| kind == "cgroup" || kind == "cgroup2";
    Ok(all()?.into_iter().filter(|(_, kind)| is_cgroup(kind)).map(|(point, _)| point).collect())
}

/// Mount points and kinds of file system, in the order they were mounted.
fn all() -> Result<Vec<(PathBuf, String)>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("failed to read what is mounted")?;
    Ok(text.lines().filter_map(parse).collect())
}

/// `36 35 98:0 /root /mount/point options… - kind source options`
fn parse(line: &str) -> Option<(PathBuf, String)> {
    let point = line.split(' ').nth(4)?;
    let kind = line.split_once(" - ")?.1.split(' ').next()?;
    Some((PathBuf::from(point.replace("\\040", " ")), kind.to_owned()))
}
