//! The example is what the API server would take, leaves nothing out and names the right defaults.

use super::{EXAMPLE, Kind, fields, kinds};
use serde_json::json;
use std::collections::BTreeSet;
use tidemill_api::{
    check,
    manifest::{Document, documents},
};

/// What cannot stand beside another field of the example: shown in a comment.
const IN_COMMENTS: [(&str, &str); 1] = [("Function", "spec.scaling.lagPerReplica")];

/// What is wrong with an example, one line each.
fn problems(example: &str) -> Vec<String> {
    let documents = documents(example).expect("YAML");
    let refused = documents.iter().filter_map(|document| check::resource(document).err()).flatten();
    let mut problems: Vec<String> = refused.map(|problem| format!("refused: {problem}")).collect();
    for kind in kinds().expect("schemas in words") {
        let own: Vec<_> = documents.iter().filter(|document| document.kind() == Some(&kind.name)).collect();
        problems.extend(left_out(&kind, &own, example));
        problems.extend(own.iter().flat_map(|document| wrong_defaults(&kind, document, example)));
    }
    problems
}

fn left_out(kind: &Kind, documents: &[&Document], example: &str) -> Vec<String> {
    let leaves = kind.spec.iter().filter(|field| field.leaf);
    leaves
        .filter_map(|field| {
            let there = documents.iter().any(|document| document.value.pointer(&pointer(&field.path)).is_some());
            let (_, name) = field.path.rsplit_once('.').expect("a leaf is below `spec`");
            let of_comments = IN_COMMENTS.contains(&(kind.name.as_str(), field.path.as_str()));
            let problem = match (there, of_comments) {
                (false, false) => "is left out",
                (true, true) => "is there, so it is no exception",
                (false, true) if !example.contains(&format!("# {name}: ")) => "is not in a comment",
                (true, false) | (false, true) => return None,
            };
            Some(format!("{} {} {problem}", kind.name, field.path))
        })
        .collect()
}

/// A comment is `default` beside a value that is the default, and `default X` beside another one.
fn wrong_defaults(kind: &Kind, document: &Document, example: &str) -> Vec<String> {
    let with_default = kind.spec.iter().filter_map(|field| Some((field, field.default.as_deref()?)));
    with_default
        .filter_map(|(field, default)| {
            let at = pointer(&field.path);
            let value = fields::value(document.value.pointer(&at)?);
            let line = example.lines().nth(document.line(&at) - 1)?;
            let said = line.split_once(" # ").and_then(|(_, comment)| comment.split(';').next());
            let right = if value == default { "default".to_owned() } else { format!("default {default}") };
            (said != Some(&right)).then(|| format!("{} {}: the comment must be `{right}`", kind.name, field.path))
        })
        .collect()
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

#[test]
fn the_example_is_accepted_and_complete() {
    assert_eq!(problems(EXAMPLE), Vec::<String>::new());
}

#[test]
fn an_example_that_is_not_is_found_out() {
    for (line, instead, expected) in [
        ("    bisect: true ", "", "Function spec.retry.bisect is left out"),
        ("    ca: {", "    # ca: {", "KafkaCluster spec.tls.ca.name is left out"),
        ("  topicName: market_trades ", "", "Topic spec.topicName is left out"),
        ("    # lagPerReplica: 100", "", "Function spec.scaling.lagPerReplica is not in a comment"),
        (
            "    drainTarget: 10s ",
            "    lagPerReplica: 100",
            "Function spec.scaling.lagPerReplica is there, so it is no exception",
        ),
        ("    max: 12 ", "    max: 12 # default 9", "Function spec.scaling.max: the comment must be `default 10`"),
        (
            "        window: 500ms ",
            "        window: 1s # default",
            "Function spec.trigger.kafka.batch.window: the comment must be `default 500ms`",
        ),
        (
            "  partitions: 12 ",
            "  partitions: 0",
            "refused: spec.partitions: 0 is less than the minimum of 1: write at least 1",
        ),
    ] {
        let changed = |old: &str| if old.starts_with(line) { instead.to_owned() } else { old.to_owned() };
        let example: Vec<String> = EXAMPLE.lines().map(changed).collect();
        let problems = problems(&example.join("\n"));
        assert!(problems.iter().any(|problem| problem == expected), "{line}: {problems:?}");
    }
}

#[test]
fn every_exception_is_a_field() {
    let kinds = kinds().expect("schemas in words");
    let paths: BTreeSet<(&str, &str)> =
        kinds.iter().flat_map(|kind| kind.spec.iter().map(|field| (kind.name.as_str(), field.path.as_str()))).collect();
    for exception in IN_COMMENTS {
        assert!(paths.contains(&exception), "{exception:?}");
    }
}

#[test]
fn forms_have_names() {
    let kinds = kinds().expect("schemas in words");
    let forms: BTreeSet<&str> = kinds.iter().flat_map(|kind| &kind.spec).map(|field| field.form.as_str()).collect();
    for name in ["duration", "size"] {
        assert!(forms.contains(name), "{name} is spelled out: {forms:?}");
    }
    for (path, _) in fields::KUBERNETES {
        let mut fields = kinds.iter().flat_map(|kind| kind.spec.iter().chain(&kind.status));
        assert!(fields.any(|field| field.path == path), "{path} is no field");
    }
}

#[test]
fn what_has_no_words_is_an_error() {
    for (schema, expected) in [
        (json!({"type": "integer"}), "no description"),
        (json!({"description": "Even.", "type": "integer", "multipleOf": 2}), "`multipleOf`"),
        (json!({"description": "Many.", "type": "array", "items": {"type": "object", "properties": {}}}), "objects"),
        (json!({"description": "Any.", "x-kubernetes-preserve-unknown-fields": true}), "no type"),
    ] {
        let error = fields::all("spec.field", &schema, false).err().expect("an error");
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}
