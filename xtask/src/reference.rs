//! docs/reference.md: every field of the three kinds as their schemas have it, below manifests that
//! set all of them.

mod fields;

use anyhow::{Context, Result};
use fields::Field;
use serde_json::Value;

/// Accepted, and complete: the tests see to both.
const EXAMPLE: &str = include_str!("reference/example.yaml");

const HEAD: &str = "\
# Reference: all fields

What `Function`, `KafkaCluster` and `Topic` of `tidemill.dev/v1alpha1` may have, made from their schemas
by `cargo run --release -p xtask -- crds`. `kubectl explain fn.spec --recursive` (`kc`, `kt`) shows them on a
cluster. `tidemill validate FILE` checks a manifest without one, also cron expressions, time zones and filters.

## Whole manifests

Every field once; few of them are needed. A comment that begins with \"default\" says what holds where the
field is left out.
";

const TYPES: &str = "\
## How to read the tables

A *required* field must be there where the object around it is; one without a default may be left out.
A `duration` is numbers with their units (`ms`, `s`, `m`, `h`), such as `500ms` or `1h30m`; a `size` is a
number with `B`, `KiB`, `MiB`, `GiB` or none, in quotes then (`\"1048576\"`). What is \"as in a pod\" is
Kubernetes' own: `kubectl explain pod.spec`; for `env`, `envFrom` and `resources`, `kubectl explain pod.spec.containers`.
";

/// The text of the page.
pub fn page() -> Result<String> {
    let mut page = format!("{HEAD}\n```yaml\n{EXAMPLE}```\n\n{TYPES}");
    for kind in kinds()? {
        page += &format!("\n## {}\n\n{} Short name: `{}`.\n\n", kind.name, kind.description, kind.short_name);
        page += &table(&kind.spec);
        page += &rules(&kind.spec);
        page += "\nIts status, which the operator writes:\n\n";
        page += &status_table(&kind.status);
    }
    Ok(page)
}

/// One of the three, in words.
struct Kind {
    name: String,
    short_name: String,
    description: String,
    /// `spec` itself, then all below it.
    spec: Vec<Field>,
    /// `status` itself, then all below it.
    status: Vec<Field>,
}

fn kinds() -> Result<Vec<Kind>> {
    tidemill_api::check::crds().iter().map(|crd| kind(&serde_json::to_value(crd)?)).collect()
}

fn kind(crd: &Value) -> Result<Kind> {
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").context("a CRD has a schema")?;
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).map(str::to_owned).context("a CRD's name");
    let spec = fields::all("spec", &schema["properties"]["spec"], true)?;
    Ok(Kind {
        name: text("/spec/names/kind")?,
        short_name: text("/spec/names/shortNames/0")?,
        description: spec.first().context("there is a spec")?.description.clone(),
        status: fields::all("status", &schema["properties"]["status"], false)?,
        spec,
    })
}

/// What is below `spec`.
fn table(spec: &[Field]) -> String {
    let rows = spec.iter().skip(1).map(|field| {
        let default = match &field.default {
            Some(value) => format!("`{value}`"),
            None if field.required => "*required*".to_owned(),
            None => String::new(),
        };
        row(&[&format!("`{}`", field.path), &field.form, &default, &field.description])
    });
    format!("| field | type | default | description |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

/// What is below `status`.
fn status_table(status: &[Field]) -> String {
    let rows = status.iter().skip(1);
    let rows = rows.map(|field| row(&[&format!("`{}`", field.path), &field.form, &field.description]));
    format!("| field | type | description |\n|---|---|---|\n{}", rows.collect::<String>())
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', r"\|")).collect::<Vec<_>>().join(" | "))
}

fn rules(fields: &[Field]) -> String {
    let rules = fields.iter().flat_map(|field| field.rules.iter().map(move |rule| (&field.path, rule)));
    let lines: String = rules.map(|(path, rule)| format!("- `{path}`: {rule}\n")).collect();
    if lines.is_empty() { lines } else { format!("\nRules:\n\n{lines}") }
}

#[cfg(test)]
mod tests;
