//! Whether a manifest would be accepted, and if not: which field, on which line, and the remedy.
//!
//! Three layers, as on a cluster: the CRD's schema, its CEL rules, and the rules that need code
//! (cron, time zones, timestamps), which the operator states as a condition.

use crate::{
    Function, KafkaCluster, Start, Topic,
    manifest::{Document, Resource},
};
use chrono::DateTime;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, core::cel::Validator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{fmt, str::FromStr};

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, beginning with 1.
    pub line: usize,
    /// The field, such as `spec.trigger.kafka.topics[0]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Reads a document as one of our resources; `Ok(None)` where it is of another API group.
///
/// # Errors
/// All the problems found, in the order of their lines.
pub fn resource(document: &Document) -> Result<Option<Resource>, Vec<Problem>> {
    let Some(kind) = document.kind() else {
        return match document.value.get("kind") {
            Some(_) if document.value.get("apiVersion").is_some() => Ok(None),
            _ => Err(vec![problem(document, "", "`apiVersion` and `kind` are missing: is this a manifest?")]),
        };
    };
    let version = document.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let ours = format!("{}/{}", crate::GROUP, crate::VERSION);
    if version != ours {
        return Err(vec![problem(document, "/apiVersion", &format!("`{version}` is not served: use `{ours}`"))]);
    }
    match kind {
        "Function" => {
            let function: Function = typed(document)?;
            code_rules(document, &function)?;
            Ok(Some(Resource::Function(Box::new(function))))
        }
        "KafkaCluster" => typed(document).map(|cluster| Some(Resource::KafkaCluster(Box::new(cluster)))),
        "Topic" => {
            let topic: Topic = typed(document)?;
            topic_rules(document, &topic)?;
            Ok(Some(Resource::Topic(Box::new(topic))))
        }
        other => Err(vec![problem(
            document,
            "/kind",
            &format!("`{other}` is not a kind of {ours}: use Function, KafkaCluster or Topic"),
        )]),
    }
}

/// The CRDs in the order they are installed.
#[must_use]
pub fn crds() -> [CustomResourceDefinition; 3] {
    [Function::crd(), KafkaCluster::crd(), Topic::crd()]
}

fn typed<T: CustomResourceExt + DeserializeOwned>(document: &Document) -> Result<T, Vec<Problem>> {
    let mut problems = names(document);
    let schema = schema_of(&T::crd());
    problems.extend(schema_problems(document, &schema));
    if problems.is_empty() {
        // A rule of the whole resource compares with the object before a change, which a file
        // does not know: only rules about the new object apply.
        if let Err(errors) = Validator::new().validate_with_defaults(&schema, &document.value, None) {
            problems.extend(errors.into_vec().into_iter().map(|error| {
                let pointer = pointer_of(&error.field_path);
                problem(document, &pointer, &error.message)
            }));
        }
    }
    if problems.is_empty() {
        match serde_json::from_value(document.value.clone()) {
            Ok(resource) => return Ok(resource),
            Err(error) => problems.push(problem(document, "", &error.to_string())),
        }
    }
    problems.sort_by_key(|problem| problem.line);
    problems.dedup();
    Err(problems)
}

fn schema_of(crd: &CustomResourceDefinition) -> Value {
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    serde_json::to_value(schema).expect("a schema is JSON")
}

fn names(document: &Document) -> Vec<Problem> {
    let refused = |message: &str| vec![problem(document, "/metadata/name", message)];
    match document.name() {
        None => refused("is missing: give the resource a name"),
        Some(name) if name.len() > 253 => refused("is longer than 253 characters"),
        Some(name) if !is_dns_subdomain(name) => refused(&format!(
            "`{name}` is not a name: use lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
        )),
        Some(_) => Vec::new(),
    }
}

fn is_dns_subdomain(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

fn schema_problems(document: &Document, schema: &Value) -> Vec<Problem> {
    let mut strict = schema.clone();
    close_objects(&mut strict);
    // `metadata` is checked by name above; its schema is the API server's own.
    strict["properties"]["metadata"] = json!({"type": "object"});
    strict["properties"]["apiVersion"] = json!({"type": "string"});
    strict["properties"]["kind"] = json!({"type": "string"});
    let validator = match jsonschema::draft202012::new(&strict) {
        Ok(validator) => validator,
        Err(error) => return vec![problem(document, "", &format!("the resource's schema is broken: {error}"))],
    };
    validator
        .iter_errors(&document.value)
        .map(|error| {
            let pointer = error.instance_path().to_string();
            describe(document, &pointer, &error)
        })
        .collect()
}

/// Unknown fields are an error here, as with `kubectl apply`'s strict validation.
fn close_objects(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    let open = map.contains_key("additionalProperties") || map.contains_key("x-kubernetes-preserve-unknown-fields");
    if map.contains_key("properties") && !open {
        map.insert("additionalProperties".to_owned(), false.into());
    }
    if map.remove("x-kubernetes-int-or-string").is_some() {
        map.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if map.remove("nullable") == Some(Value::Bool(true))
        && let Some(Value::String(kind)) = map.get("type").cloned()
    {
        map.insert("type".to_owned(), json!([kind, "null"]));
    }
    for value in map.values_mut() {
        match value {
            Value::Object(_) => close_objects(value),
            Value::Array(items) => items.iter_mut().for_each(close_objects),
            _ => {}
        }
    }
}

fn describe(document: &Document, pointer: &str, error: &jsonschema::ValidationError<'_>) -> Problem {
    use jsonschema::error::ValidationErrorKind as Kind;
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let name = unexpected.first().map_or("?", String::as_str);
            let at = format!("{pointer}/{name}");
            problem(document, &at, "is not a field here: see `tidemill crds` or `kubectl explain` for those there are")
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            problem(document, &format!("{pointer}/{name}"), "is missing")
        }
        Kind::Enum { options } => {
            let options = options.as_array().map(|all| all.iter().map(Value::to_string).collect::<Vec<_>>().join(", "));
            problem(document, pointer, &format!("{} is not one of {}", error.instance(), options.unwrap_or_default()))
        }
        Kind::Pattern { pattern } if pattern == crate::Duration::PATTERN => {
            problem(document, pointer, &text_error::<crate::Duration>(error.instance()))
        }
        Kind::Pattern { pattern } if pattern == crate::ByteSize::PATTERN => {
            problem(document, pointer, &text_error::<crate::ByteSize>(error.instance()))
        }
        _ => problem(document, pointer, &error.to_string()),
    }
}

fn text_error<T: FromStr<Err = crate::QuantityError>>(value: &Value) -> String {
    match value.as_str().unwrap_or_default().parse::<T>() {
        Err(error) => error.to_string(),
        Ok(_) => "is not written as expected".to_owned(),
    }
}

fn code_rules(document: &Document, function: &Function) -> Result<(), Vec<Problem>> {
    let problems: Vec<_> = code_problems(function)
        .into_iter()
        .map(|(field, message)| problem(document, &pointer_of(field), &message))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The rules that need code: each broken one as its field and what would be right.
#[must_use]
pub fn code_problems(function: &Function) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if let Some(schedule) = &function.spec.trigger.schedule {
        if let Err(error) = croner::Cron::from_str(&schedule.cron) {
            let message = format!(
                "`{}` is not a cron expression ({error}): write five fields, such as \"*/5 * * * *\"",
                schedule.cron
            );
            problems.push(("spec.trigger.schedule.cron", message));
        }
        if schedule.time_zone.parse::<chrono_tz::Tz>().is_err() {
            let message =
                format!("`{}` is not a time zone: use an IANA name, such as Europe/Paris", schedule.time_zone);
            problems.push(("spec.trigger.schedule.timeZone", message));
        }
    }
    if let Some(kafka) = &function.spec.trigger.kafka
        && let Start::Timestamp(timestamp) = &kafka.start
        && DateTime::parse_from_rfc3339(timestamp).is_err()
    {
        let message = format!("`{timestamp}` is not a time: write RFC 3339, such as 2026-01-01T00:00:00Z");
        problems.push(("spec.trigger.kafka.start.timestamp", message));
    }
    problems
}

fn topic_rules(document: &Document, topic: &Topic) -> Result<(), Vec<Problem>> {
    let name = topic.topic_name();
    let kafka_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if kafka_name && (1..=249).contains(&name.len()) {
        return Ok(());
    }
    Err(vec![problem(document, "/metadata/name", &format!("`{name}` cannot be a topic's name: set `spec.topicName`"))])
}

fn problem(document: &Document, pointer: &str, message: &str) -> Problem {
    let field = if pointer.is_empty() { "(document)".to_owned() } else { field_of(pointer) };
    Problem { line: document.line(pointer), field, message: message.to_owned() }
}

/// `/spec/topics/0` → `spec.topics[0]`.
fn field_of(pointer: &str) -> String {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
            field.push_str(&format!("[{part}]"));
        } else {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    field
}

/// `spec.topics[0]` → `/spec/topics/0`.
fn pointer_of(field: &str) -> String {
    field
        .split(['.', '['])
        .filter(|part| !part.is_empty())
        .fold(String::new(), |pointer, part| pointer + "/" + part.trim_end_matches(']'))
}
