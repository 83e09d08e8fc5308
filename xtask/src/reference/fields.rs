//! The fields of a schema, one after the other, in words.
//!
//! A schema that says more than there are words for is an error, so that nothing is left out unseen.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidemill_api::{ByteSize, Duration};

/// Fields of Kubernetes' own types, which are not descended into, and what is said of them.
pub const KUBERNETES: [(&str, &str); 9] = [
    ("spec.affinity", POD),
    ("spec.env", POD),
    ("spec.envFrom", POD),
    ("spec.imagePullSecrets", POD),
    ("spec.nodeSelector", POD),
    ("spec.resources", POD),
    ("spec.tolerations", POD),
    ("spec.topologySpreadConstraints", POD),
    ("status.conditions", "list of conditions"),
];
const POD: &str = "as in a pod";

/// Texts of a form that has a name.
const FORMS: [(&str, &str); 2] = [(Duration::PATTERN, "duration"), (ByteSize::PATTERN, "size")];

/// All that a schema may say. `format` and `nullable` are for machines.
const KEYWORDS: [&str; 18] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-preserve-unknown-fields",
];
const RULES: &str = "x-kubernetes-validations";

/// One field.
pub struct Field {
    /// From the resource down, such as `spec.trigger.kafka`.
    pub path: String,
    /// Its type and limits, as Markdown.
    pub form: String,
    /// Its value where it is not set.
    pub default: Option<String>,
    /// Whether it must be set where the object around it is.
    pub required: bool,
    /// The first paragraph of what the schema says of it.
    pub description: String,
    /// The messages of its CEL rules.
    pub rules: Vec<String>,
    /// Whether it has no fields of its own.
    pub leaf: bool,
}

/// The field at `path` and all below it, as `kubectl explain` orders them.
pub fn all(path: &str, schema: &Value, required: bool) -> Result<Vec<Field>> {
    let field = field(path, schema, required).with_context(|| format!("the schema of {path}"))?;
    let below = schema.get("properties").and_then(Value::as_object).filter(|_| !field.leaf);
    let mut fields = vec![field];
    for (name, below) in below.into_iter().flatten() {
        fields.extend(all(&format!("{path}.{name}"), below, is_required(schema, name))?);
    }
    Ok(fields)
}

fn field(path: &str, schema: &Value, required: bool) -> Result<Field> {
    let description = schema["description"].as_str().context("has no description")?;
    let first = description.split("\n\n").next().unwrap_or(description);
    let kubernetes = KUBERNETES.iter().find(|(known, _)| *known == path).map(|(_, form)| (*form).to_owned());
    let leaf = kubernetes.is_some() || schema.get("properties").is_none();
    Ok(Field {
        path: path.to_owned(),
        form: kubernetes.map_or_else(|| form(schema), Ok)?,
        // What an object is by default, its fields say.
        default: schema.get("default").filter(|_| leaf).map(value),
        required,
        description: first.split_whitespace().collect::<Vec<_>>().join(" "),
        rules: rules(schema)?,
        leaf,
    })
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name))
}

fn rules(schema: &Value) -> Result<Vec<String>> {
    let rules = schema.get(RULES).and_then(Value::as_array);
    let message = |rule: &Value| Some(rule["message"].as_str()?.to_owned());
    rules.into_iter().flatten().map(|rule| message(rule).context("a rule has no message")).collect()
}

/// Type and limits.
fn form(schema: &Value) -> Result<String> {
    for keyword in schema.as_object().context("is no object")?.keys() {
        ensure!(keyword == RULES || KEYWORDS.contains(&keyword.as_str()), "`{keyword}` has no words yet");
    }
    if let Some(values) = schema["enum"].as_array() {
        return Ok(values.iter().map(|option| format!("`{}`", value(option))).collect::<Vec<_>>().join(", "));
    }
    Ok(match schema["type"].as_str() {
        Some("string") => text(schema),
        Some("array") => {
            let count = range(schema, "minItems", "maxItems").map_or_else(String::new, |count| format!(" of {count}"));
            format!("list{count}: {}", inner(&schema["items"])?)
        }
        Some("object") => match schema.get("additionalProperties") {
            Some(values) => format!("map to {}", inner(values)?),
            None if schema.get("properties").is_some() => "object".to_owned(),
            None => "object with any fields".to_owned(),
        },
        Some(number) => match range(schema, "minimum", "maximum") {
            Some(limits) => format!("{number}, {limits}"),
            None => number.to_owned(),
        },
        // A schema without a type binds texts by their pattern and objects by what they must have.
        None => match schema["required"].as_array().map(Vec::as_slice) {
            Some([name]) => format!("{}, or object with `{}`", text(schema), value(name)),
            _ => bail!("has no type"),
        },
    })
}

/// What is in a list or a map: fields of their own would be left out there.
fn inner(schema: &Value) -> Result<String> {
    ensure!(schema.get("properties").is_none(), "a list or a map of objects has no words yet");
    ensure!(schema.get(RULES).is_none(), "a rule in a list or a map has no words yet");
    form(schema)
}

fn text(schema: &Value) -> String {
    let pattern = schema["pattern"].as_str();
    if let Some((_, name)) = FORMS.iter().find(|(known, _)| Some(*known) == pattern) {
        return (*name).to_owned();
    }
    let length = range(schema, "minLength", "maxLength").map(|limits| format!("{limits} characters"));
    let parts = [Some("text".to_owned()), length, pattern.map(|pattern| format!("`{pattern}`"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn range(schema: &Value, least: &str, most: &str) -> Option<String> {
    match (schema[least].as_f64(), schema[most].as_f64()) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}

/// A value as a manifest has it.
pub fn value(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => r#""""#.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
