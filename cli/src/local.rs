//! `local/companions.yaml`: what `tidemill up` starts beside the functions. Kubernetes never sees it.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// What runs beside the functions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Local {
    /// Programs started with the functions and ended with them.
    pub companions: Vec<Companion>,
    /// Environment of every function whose manifest does not set it.
    pub env: BTreeMap<String, String>,
}

/// A program that runs beside the functions.
///
/// In its arguments and URL, `${port}` is a free port of its own, `${NAME.port}` another
/// companion's, and `${kafka}`, `${redis}`, `${s3}` are the services' addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Companion {
    /// Its name in messages and logs.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Further arguments in a live run.
    #[serde(default)]
    pub live: Vec<String>,
    /// Further arguments with `--once`.
    #[serde(default)]
    pub once: Vec<String>,
    /// Whether `--once` waits until it has ended.
    #[serde(default)]
    pub source: bool,
    /// A URL that answers when it is ready.
    #[serde(default)]
    pub ready: Option<String>,
}

impl Local {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or has another shape.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        serde_saphyr::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
    }
}

/// Fills in `${…}`.
///
/// # Errors
/// When a name is unknown; the known ones are listed.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').with_context(|| format!("`{text}` has a `${{` without `}}`"))?;
        let known = || values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let value =
            values.get(name).with_context(|| format!("`${{{name}}}` is not known here: use one of {}", known()))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = tail;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::fill;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_filled_in_and_unknown_ones_refused() {
        let values = BTreeMap::from([("port".to_owned(), "80".to_owned()), ("a.port".to_owned(), "81".to_owned())]);
        for (text, expected) in [("x", "x"), (":${port}", ":80"), ("${a.port}/${port}$", "81/80$")] {
            assert_eq!(fill(text, &values).expect(text), expected);
        }
        for text in ["${nope}", "${port"] {
            assert!(fill(text, &values).is_err(), "{text}");
        }
    }
}
