//! What benchmarks have measured, in `loadtest/results/latest/bench.json`: each figure by its name,
//! beside those of other runs.

use crate::kube::root;
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

/// Its name, value, unit, and what it is compared with.
pub type Figure = (String, f64, &'static str, Option<f64>);

/// Adds the figures, in place of those of the same names.
///
/// # Panics
/// When the file cannot be written.
pub fn write(figures: &[Figure]) {
    let folder = root().join("loadtest/results/latest");
    fs::create_dir_all(&folder).expect("a folder for results");
    let file = folder.join("bench.json");
    let mut all = read(&file);
    for (name, value, unit, reference) in figures {
        all.insert(name.clone(), json!({"value": value, "unit": unit, "reference": reference}));
    }
    fs::write(&file, serde_json::to_string_pretty(&all).expect("figures are JSON")).expect("results can be written");
    println!("written to {}", file.display());
}

fn read(file: &Path) -> Map<String, Value> {
    fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
