//! Patterns that are refused, each with the place and the remedy.

use serde_json::{Value, json};
use tidemill_filter::{DEEPEST, Filters, LONGEST_TEXT, MOST_ABSENCES, MOST_ALTERNATIVES, MOST_PATTERNS};

#[track_caller]
fn refused(patterns: &Value, pointer: &str, words: &str) {
    let error = Filters::compile(patterns.as_array().expect("a list")).expect_err(&patterns.to_string());
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.message.contains(words), "{error}");
}

/// The pattern of the field `x` of the value.
#[track_caller]
fn leaf(leaf: Value, below: &str, words: &str) {
    refused(&json!([{"key": ["k"]}, {"value": {"x": leaf}}]), &format!("/1/value/x{below}"), words);
}

#[test]
fn shapes() {
    refused(&json!([1]), "/0", "write one with any of `value`");
    refused(&json!([{}]), "/0", "is an empty object");
    refused(&json!([{"topic": ["t"]}]), "/0/topic", "there are `value`, `key` and `headers`");
    refused(&json!([{"value": "a"}]), "/0/value", "is neither");
    refused(&json!([{"value": []}]), "/0/value", "is an empty list");
    refused(&json!([{"value": {}}]), "/0/value", "is an empty object");
    refused(&json!([{"headers": ["a"]}]), "/0/headers", "of headers' names");
    refused(&json!([{"headers": {"h": "a"}}]), "/0/headers/h", "is no list");
    refused(&json!([{"headers": {"h": [3]}}]), "/0/headers/h/0", "write \"3\"");
    refused(&json!([{"key": [null]}]), "/0/key/0", "write {exists: false}");
    refused(&json!([{"key": [{"numeric": ["=", 3]}]}]), "/0/key/0/numeric", "an operator for texts");
    refused(&json!([{"value": {"$or": [{"a": [1]}]}}]), "/0/value/$or", "at least two");
    refused(&json!([{"$or": {"a": [1]}}]), "/0/$or", "at least two");
    refused(&json!([{"value": {"a/b": {"c~": 1}}}]), "/0/value/a~1b/c~0", "write [1]");
}

#[test]
fn operands() {
    leaf(json!("a"), "", "write [\"a\"]");
    leaf(json!([["a"]]), "/0", "a list in a list of alternatives");
    leaf(json!(["a", {"perfix": "b"}]), "/1/perfix", "is no operator: there are `prefix`");
    leaf(json!([{}]), "/0", "is an empty object");
    leaf(json!([{"prefix": "a", "suffix": "b"}]), "/0", "has several operators");
    leaf(json!([{"prefix": 1}]), "/0/prefix", "1 is no text");
    leaf(json!([{"suffix": {"wildcard": "a"}}]), "/0/suffix/wildcard", "there is `equals-ignore-case`");
    leaf(json!([{"exists": "no"}]), "/0/exists", "neither true nor false");
    leaf(json!([{"wildcard": "a**"}]), "/0/wildcard", "write one `*`");
    leaf(json!([{"wildcard": "a\\b"}]), "/0/wildcard", "write `\\\\`");
    // An operator without the list around it: what was meant, and what was written.
    leaf(json!({"prefix": "x"}), "/prefix", r#"write ["x"], or above it [{"prefix": "x"}] for the operator"#);
    leaf(json!({"prefixed": "x"}), "/prefixed", r#"write ["x"]"#);
    for range in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/+8"] {
        leaf(json!([{"cidr": range}]), "/0/cidr", "write 10.0.0.0/24");
    }
    leaf(json!([{"numeric": 5}]), "/0/numeric", "is no list");
    leaf(json!([{"numeric": []}]), "/0/numeric", "one or two operators");
    leaf(json!([{"numeric": ["!=", 5]}]), "/0/numeric/0", "\"!=\" is no operator here");
    leaf(json!([{"numeric": [">", "5"]}]), "/0/numeric/1", "without quotes");
    leaf(json!([{"numeric": [">", 0, "=", 5]}]), "/0/numeric/2", "no operator here");
    leaf(json!([{"numeric": ["<", 5, ">", 0]}]), "/0/numeric/0", "no operator here");
    leaf(json!([{"numeric": [">", 5, "<", 5]}]), "/0/numeric", "holds no number");
    leaf(json!([{"anything-but": []}]), "/0/anything-but", "is an empty list");
    leaf(json!([{"anything-but": null}]), "/0/anything-but", "neither text nor a number");
    leaf(json!([{"anything-but": ["a", 1]}]), "/0/anything-but", "only texts or only numbers");
    leaf(json!([{"anything-but": ["a", true]}]), "/0/anything-but/1", "neither text nor a number");
    leaf(json!([{"anything-but": {"cidr": "::/0"}}]), "/0/anything-but/cidr", "there are `prefix`");
    leaf(json!([{"anything-but": {"prefix": ["a", ""]}}]), "/0/anything-but/prefix/1", "at least one character");
}

#[test]
fn sizes() {
    let nested = |levels: usize| json!([(0..levels).fold(json!([1]), |inner, _| json!({"value": inner}))]);
    // The list's index and the fields, then the alternative's.
    assert!(Filters::compile(nested(DEEPEST - 2).as_array().expect("a list")).is_ok());
    let error = Filters::compile(nested(DEEPEST).as_array().expect("a list")).expect_err("too deep");
    assert!(error.message.contains("nothing may be nested deeper"), "{error}");
    assert!(Filters::compile(nested(1_000).as_array().expect("a list")).is_err());

    let long = "a".repeat(LONGEST_TEXT + 1);
    leaf(json!([long]), "/0", "is longer than");
    leaf(json!([{"prefix": long}]), "/0/prefix", "is longer than");
    refused(&json!([{"value": {long: ["a"]}}]), "/0/value", "has a field with a name of more than");
    refused(&json!(vec![json!({"key": ["a"]}); MOST_PATTERNS + 1]), "", "more than 20 patterns");
    refused(&json!([{"key": vec!["a"; MOST_ALTERNATIVES + 1]}]), &format!("/0/key/{MOST_ALTERNATIVES}"), "write fewer");
    let absent: serde_json::Map<_, _> =
        (0..=MOST_ABSENCES).map(|field| (format!("{field:03}"), json!([{"exists": false}]))).collect();
    refused(&json!([{"value": absent}]), "/0/value/064", "write fewer");
}
