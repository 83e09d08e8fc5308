//! Whether a manifest would be accepted, and if not: which field, on which line, and the remedy.
//!
//! Three layers, as on a cluster: the CRD's schema, its CEL rules, and the rules that need code
//! (cron, time zones, timestamps), which the operator states as a condition.

use crate::{
    Function, KafkaCluster, Topic,
    field::{field_of, pointer_of},
    manifest::{Document, Resource},
    rules,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    CustomResourceExt,
    core::cel::{CompiledSchema, Validator, compile_schema},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{collections::HashMap, fmt, str::FromStr, sync::LazyLock};

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, beginning with 1.
    pub line: usize,
    /// The field, such as `spec.trigger.kafka.topics[0]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Where the field is unknown: those that there are at its place.
    pub known: Vec<String>,
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
            let function: Function = typed(kind, document)?;
            code_rules(document, &function)?;
            Ok(Some(Resource::Function(Box::new(function))))
        }
        "KafkaCluster" => typed(kind, document).map(|cluster| Some(Resource::KafkaCluster(Box::new(cluster)))),
        "Topic" => {
            let topic: Topic = typed(kind, document)?;
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

/// What a kind's manifests are checked by, compiled once.
struct Checks {
    /// The CRD's schema with nothing unknown allowed.
    strict: Value,
    schema: jsonschema::Validator,
    rules: CompiledSchema,
}

/// By the kind's name.
static CHECKS: LazyLock<HashMap<String, Checks>> =
    LazyLock::new(|| crds().iter().map(|crd| (crd.spec.names.kind.clone(), Checks::of(crd))).collect());

impl Checks {
    fn of(crd: &CustomResourceDefinition) -> Self {
        let schema = schema_of(crd);
        let mut strict = schema.clone();
        close_objects(&mut strict);
        // `metadata` is checked by name; its schema is the API server's own.
        strict["properties"]["metadata"] = json!({"type": "object"});
        strict["properties"]["apiVersion"] = json!({"type": "string"});
        strict["properties"]["kind"] = json!({"type": "string"});
        let compiled = jsonschema::draft202012::new(&strict).expect("our own schemas are sound: every test uses them");
        Self { rules: compile_schema(&schema), schema: compiled, strict }
    }
}

fn typed<T: DeserializeOwned>(kind: &str, document: &Document) -> Result<T, Vec<Problem>> {
    let mut problems = names(document);
    let checks = &CHECKS[kind];
    problems.extend(schema_problems(document, checks));
    if problems.is_empty() {
        // A rule of the whole resource compares with the object before a change, which a file
        // does not know: only rules about the new object apply.
        if let Err(errors) = Validator::new().validate_compiled(&checks.rules, &document.value, None) {
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

fn schema_problems(document: &Document, checks: &Checks) -> Vec<Problem> {
    checks
        .schema
        .iter_errors(&document.value)
        .flat_map(|error| {
            let pointer = error.instance_path().to_string();
            describe(document, &checks.strict, &pointer, &error)
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

/// What a text must look like → what to write.
const FORMS: [(&str, &str); 6] = [
    (crate::Duration::PATTERN, "a duration such as 30s, in quotes or not"),
    (crate::ByteSize::PATTERN, "a size such as 64KiB, in quotes or not"),
    (r"^[a-zA-Z0-9._-]+$", "a name of letters, digits, `.`, `_` and `-`"),
    ("^(earliest|latest)$", "earliest, latest or {timestamp: 2026-01-01T00:00:00Z}"),
    (r"^[^\s,:/]+:[0-9]{1,5}$", "a host and a port, such as kafka:9092"),
    (r"^https?://", "a URL that begins with http:// or https://"),
];

/// What a value must be → what to write.
const TYPES: [(&str, &str); 6] = [
    ("string", "text, in quotes where it looks like something else"),
    ("integer", "a whole number without quotes"),
    ("number", "a number without quotes"),
    ("boolean", "true or false without quotes"),
    ("array", "a list such as [t]"),
    ("object", "fields and their values"),
];

/// What the schema has at a place in a document.
fn schema_at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(schema, |schema, part| {
        let name = part.replace("~1", "/").replace("~0", "~");
        let field = schema.get("properties").and_then(|fields| fields.get(&name));
        field.or_else(|| schema.get("items")).or_else(|| schema.get("additionalProperties"))
    })
}

/// What to write at a place.
fn expected(schema: &Value, pointer: &str) -> Option<String> {
    let schema = schema_at(schema, pointer)?;
    if let Some(options) = schema.get("enum") {
        return Some(format!("one of {}", list(options)));
    }
    let of = |table: &[(&str, &str)], key: &str| {
        table.iter().find(|(known, _)| *known == key).map(|(_, remedy)| (*remedy).to_owned())
    };
    if let Some(form) = schema.get("pattern").and_then(Value::as_str).and_then(|pattern| of(&FORMS, pattern)) {
        return Some(form);
    }
    let kind = schema.get("type")?;
    let kind = kind.as_str().or_else(|| kind.get(0)?.as_str())?;
    match fields(schema, pointer) {
        known if kind == "object" && !known.is_empty() => Some(format!("fields of its own: {}", known.join(", "))),
        _ => of(&TYPES, kind),
    }
}

/// The fields that the schema has for an object; `status` is not for manifests.
fn fields(schema: &Value, pointer: &str) -> Vec<String> {
    let known = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys());
    known.filter(|name| !(pointer.is_empty() && *name == "status")).cloned().collect()
}

fn list(values: &Value) -> String {
    values.as_array().into_iter().flatten().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

/// One problem for each error; for unknown fields, one for each field.
fn describe(
    document: &Document,
    schema: &Value,
    pointer: &str,
    error: &jsonschema::ValidationError<'_>,
) -> Vec<Problem> {
    use jsonschema::error::ValidationErrorKind as Kind;
    let value = error.instance();
    let at = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    // JSON Schema's limits are floating-point numbers; `1.0` reads as if fractions were expected.
    let number = |limit: &Value| limit.as_f64().map_or_else(|| limit.to_string(), |limit| limit.to_string());
    let write = |pointer: &str, verb: &str| {
        expected(schema, pointer).map_or_else(String::new, |remedy| format!(": {verb} {remedy}"))
    };
    let message = match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known = schema_at(schema, pointer).map(|schema| fields(schema, pointer)).unwrap_or_default();
            let message = format!("is not a field here: there are {}", known.join(", "));
            let unknown = unexpected.iter().map(|name| problem(document, &at(name), &message));
            return unknown.map(|problem| Problem { known: known.clone(), ..problem }).collect();
        }
        Kind::Required { property } => {
            let pointer = at(property.as_str().unwrap_or_default());
            return vec![problem(document, &pointer, &format!("is missing{}", write(&pointer, "add it as")))];
        }
        Kind::Enum { options } => format!("{value} is not one of {}", list(options)),
        Kind::Pattern { pattern } if pattern == crate::Duration::PATTERN => text_error::<crate::Duration>(value),
        Kind::Pattern { pattern } if pattern == crate::ByteSize::PATTERN => text_error::<crate::ByteSize>(value),
        Kind::Minimum { limit } => {
            format!("{value} is less than the minimum of {0}: write at least {0}", number(limit))
        }
        Kind::Maximum { limit } => {
            format!("{value} is more than the maximum of {0}: write at most {0}", number(limit))
        }
        Kind::MinItems { limit } => format!("{error}: write at least {limit}, as in [t]"),
        Kind::MaxItems { limit } => format!("{error}: write at most {limit}"),
        Kind::MinLength { limit } => format!("{error}: write at least {limit}"),
        Kind::MaxLength { limit } => format!("{error}: write at most {limit}"),
        Kind::Type { .. } | Kind::Pattern { .. } => format!("{error}{}", write(pointer, "write")),
        _ => error.to_string(),
    };
    vec![problem(document, pointer, &message)]
}

fn text_error<T: FromStr<Err = crate::QuantityError>>(value: &Value) -> String {
    match value.as_str().unwrap_or_default().parse::<T>() {
        Err(error) => error.to_string(),
        Ok(_) => "is not written as expected".to_owned(),
    }
}

fn code_rules(document: &Document, function: &Function) -> Result<(), Vec<Problem>> {
    let problems: Vec<_> = rules::problems(function)
        .into_iter()
        .map(|broken| problem(document, &broken.pointer, &broken.message))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
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
    Problem { line: document.line(pointer), field, message: message.to_owned(), known: Vec::new() }
}
