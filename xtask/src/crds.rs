//! crds/: the custom resource definitions, as the `api` crate has them; the same in their chart, and
//! in words in docs/reference.md.

use crate::reference;
use anyhow::{Context, Result, bail};
use std::{fs, path::Path};

/// Writes the files, or compares them with what is committed.
pub fn run(root: &Path, check: bool) -> Result<()> {
    for (path, text) in files()? {
        let path = root.join(path);
        if check {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            if committed != text {
                bail!("{} is not current: run `cargo run --release -p xtask -- crds`", path.display());
            }
        } else {
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        }
    }
    Ok(())
}

fn files() -> Result<Vec<(String, String)>> {
    let mut files = vec![("docs/reference.md".to_owned(), reference::page()?)];
    for crd in tidemill_api::check::crds() {
        let (name, text) = (crd.metadata.name.as_deref().context("a CRD has a name")?, serde_saphyr::to_string(&crd)?);
        // Helm reads only what is in the chart's own folder.
        for folder in ["crds", "charts/tidemill-crds/files"] {
            files.push((format!("{folder}/{name}.yaml"), text.clone()));
        }
    }
    Ok(files)
}
