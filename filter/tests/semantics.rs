//! Each operator as AWS documents it: a pattern, and values that match it or do not.

use serde_json::{Value, json};
use tidemill_filter::Filters;

type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

fn compile(patterns: Value) -> Filters {
    let Value::Array(patterns) = patterns else { panic!("a list of patterns") };
    Filters::compile(&patterns).unwrap_or_else(|error| panic!("{patterns:?}: {error}"))
}

fn passes(patterns: Value, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers<'_>) -> bool {
    compile(patterns).passes(key, value, headers.iter().copied())
}

/// `field` is the pattern of the field `x` of the value.
#[track_caller]
fn check(field: Value, matching: &[Value], others: &[Value]) {
    let filters = compile(json!([{"value": {"x": field}}]));
    let found =
        |x: &Value| filters.passes(None, Some(json!({"x": x, "y": 1}).to_string().as_bytes()), std::iter::empty());
    for x in matching {
        assert!(found(x), "{field} does not match {x}");
    }
    for x in others {
        assert!(!found(x), "{field} matches {x}");
    }
}

#[test]
fn values_are_equal_in_kind_and_value() {
    check(
        json!(["Alice", "Bob"]),
        &[json!("Alice"), json!("Bob")],
        &[json!("alice"), json!(""), json!(null), json!({})],
    );
    check(json!([""]), &[json!("")], &[json!(null), json!("a")]);
    check(json!([100]), &[json!(100), json!(100.0), json!([1, 100])], &[json!("100"), json!(100.5), json!(true)]);
    check(json!([9_007_199_254_740_993_u64]), &[json!(9_007_199_254_740_993_u64)], &[json!(9_007_199_254_740_992_u64)]);
    check(json!([null]), &[json!(null)], &[json!(""), json!(0), json!([]), json!({})]);
    check(json!([true]), &[json!(true)], &[json!(false), json!("true"), json!(1)]);
    check(json!(["a", 1, null]), &[json!("a"), json!(1), json!(null)], &[json!("1"), json!(false)]);
}

#[test]
fn texts_by_their_parts() {
    check(
        json!([{"prefix": "us-"}]),
        &[json!("us-east-1"), json!("us-")],
        &[json!("eu-us-"), json!("US-east-1"), json!(1)],
    );
    check(json!([{"suffix": ".png"}]), &[json!("a.png"), json!(".png")], &[json!("a.PNG"), json!("png"), json!(null)]);
    check(json!([{"prefix": {"equals-ignore-case": "eventb"}}]), &[json!("EventBridge")], &[json!("Event")]);
    check(json!([{"suffix": {"equals-ignore-case": "tBridge"}}]), &[json!("EventBRIDGE")], &[json!("bridge")]);
    check(json!([{"equals-ignore-case": "alice"}]), &[json!("ALICE"), json!("alice")], &[json!("alicia"), json!(1)]);
    check(json!([{"wildcard": "dir/*.png"}]), &[json!("dir/a/b.png")], &[json!("dir/a.jpg"), json!("x/dir/a.png")]);
    check(json!([{"wildcard": r"\*a*"}]), &[json!("*a"), json!("*ab")], &[json!("aa")]);
}

#[test]
fn anything_but() {
    check(
        json!([{"anything-but": "initializing"}]),
        &[json!("running"), json!(1), json!(null)],
        &[json!("initializing"), json!({})],
    );
    check(json!([{"anything-but": 123}]), &[json!(124), json!("123")], &[json!(123), json!(123.0)]);
    check(
        json!([{"anything-but": ["a", "b"]}]),
        &[json!("c"), json!(["a", "c"])],
        &[json!("a"), json!("b"), json!(["a", "b"]), json!([])],
    );
    check(json!([{"anything-but": [100, 200]}]), &[json!(150)], &[json!(100), json!(2e2)]);
    check(json!([{"anything-but": {"prefix": "us-"}}]), &[json!("eu-1"), json!(1)], &[json!("us-1")]);
    check(json!([{"anything-but": {"prefix": ["us-", "eu-"]}}]), &[json!("ap-1")], &[json!("us-1"), json!("eu-1")]);
    check(json!([{"anything-but": {"suffix": ".png"}}]), &[json!("a.jpg")], &[json!("a.png")]);
    check(
        json!([{"anything-but": {"equals-ignore-case": "Initializing"}}]),
        &[json!("running")],
        &[json!("INITIALIZING")],
    );
    check(json!([{"anything-but": {"equals-ignore-case": ["a", "b"]}}]), &[json!("c")], &[json!("A"), json!("B")]);
    check(json!([{"anything-but": {"wildcard": "*/lib/*"}}]), &[json!("/bin/a")], &[json!("/usr/lib/a")]);
}

#[test]
fn numbers_in_ranges() {
    check(json!([{"numeric": ["=", 3.018e2]}]), &[json!(301.8)], &[json!(302), json!("301.8")]);
    check(
        json!([{"numeric": [">", 0, "<=", 5]}]),
        &[json!(0.1), json!(5), json!(5.0)],
        &[json!(0), json!(5.1), json!("3")],
    );
    check(json!([{"numeric": [">=", 10]}]), &[json!(10), json!(1e300)], &[json!(9.999), json!(null)]);
    check(json!([{"numeric": ["<", 10]}, {"numeric": [">", 20]}]), &[json!(9), json!(21)], &[json!(10), json!(15)]);
}

#[test]
fn addresses_in_ranges() {
    check(
        json!([{"cidr": "10.0.0.0/24"}]),
        &[json!("10.0.0.33")],
        &[json!("10.0.1.33"), json!("::1"), json!("x"), json!(10)],
    );
    check(json!([{"cidr": "2001:db8::/32"}]), &[json!("2001:db8::1")], &[json!("2001:db9::1"), json!("10.0.0.1")]);
    for (range, inside, outside) in [
        ("10.0.0.7/24", "10.0.0.1", "10.0.1.7"),
        ("0.0.0.0/0", "255.255.255.255", "::"),
        ("1.2.3.4/32", "1.2.3.4", "1.2.3.5"),
        ("::1/128", "0:0:0:0:0:0:0:1", "::2"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("10.0.0.0/8", "10.255.255.255", "10.0.0"),
        ("10.0.0.0/8", "10.0.0.0", ""),
    ] {
        check(json!([{"cidr": range}]), &[json!(inside)], &[json!(outside)]);
    }
}

#[test]
fn existence_is_of_leaves() {
    check(json!([{"exists": true}]), &[json!(1), json!(null), json!([1])], &[json!({}), json!({"z": 1}), json!([])]);
    check(
        json!([{"exists": false}]),
        &[json!({"z": 1}), json!([]), json!([{}])],
        &[json!(1), json!(null), json!([[1]])],
    );
    check(json!([{"exists": false}, "a"]), &[json!("a"), json!({})], &[json!("b")]);
    let absent =
        |value: &str| passes(json!([{"value": {"a": {"b": [{"exists": false}]}}}]), None, Some(value.as_bytes()), &[]);
    for (value, expected) in [
        ("{}", true),
        (r#"{"a": 1}"#, true),
        (r#"{"a": {"c": 1}}"#, true),
        (r#"{"a": []}"#, true),
        (r#"{"a": {"b": null}}"#, false),
        // Absent from the document, not from one of the elements.
        (r#"{"a": [{"c": 1}, {"b": 1}]}"#, false),
        (r#"{"a": [{"c": 1}, {"c": 2}]}"#, true),
    ] {
        assert_eq!(absent(value), expected, "{value}");
    }
}

#[test]
fn fields_are_anded_and_or_is_explicit() {
    let both = json!([{"value": {"a": [1], "b": [2]}}]);
    let either =
        json!([{"value": {"c": [3], "$or": [{"a": [1]}, {"b": [2], "d": {"$or": [{"e": [1]}, {"f": [1]}]}}]}}]);
    for (pattern, value, expected) in [
        (&both, json!({"a": 1, "b": 2, "z": 0}), true),
        (&both, json!({"a": 1}), false),
        (&either, json!({"c": 3, "a": 1}), true),
        (&either, json!({"a": 1}), false),
        (&either, json!({"c": 3, "b": 2}), false),
        (&either, json!({"c": 3, "b": 2, "d": {"f": 1}}), true),
    ] {
        assert_eq!(
            passes(pattern.clone(), None, Some(value.to_string().as_bytes()), &[]),
            expected,
            "{pattern} {value}"
        );
    }
}

#[test]
fn arrays_are_looked_through() {
    let pattern = json!([{"value": {"employees": {"first": ["Anna"], "last": ["Smith"]}}}]);
    for (value, expected) in [
        (json!({"employees": [{"first": "John", "last": "Doe"}, {"first": "Anna", "last": "Smith"}]}), true),
        (json!({"employees": [[{"first": "John"}], [{"first": "Anna", "last": "Smith"}]]}), true),
        (json!({"employees": [{"first": "Anna", "last": "Doe"}, {"first": "John", "last": "Smith"}]}), false),
        (json!({"employees": []}), false),
        (json!([{"employees": {"first": "Anna", "last": "Smith"}}]), true),
    ] {
        assert_eq!(passes(pattern.clone(), None, Some(value.to_string().as_bytes()), &[]), expected, "{value}");
    }
}

#[test]
fn values_and_keys_are_json_or_text() {
    let json = json!({"a": [1]});
    let text = json!([{"anything-but": ["error"]}]);
    for (pattern, bytes, expected) in [
        (&json, Some(&br#"{"a": 1}"#[..]), true),
        (&json, Some(b"a: 1"), false),
        (&json, Some(b""), false),
        (&json, Some(b"\xff"), false),
        // Half of a surrogate pair elsewhere, as of an emoji that was cut in two.
        (&json, Some(br#"{"title": "ab\ud83d", "a": 1}"#), true),
        (&json, Some(br#"{"title": "ab\ud83d", "a": 2}"#), false),
        (&json, Some(br#"{"title": "ab\ud83d", "a": 1"#), false),
        (&json, None, false),
        (&json!({"a": [{"exists": false}]}), None, false),
        (&json!({"a": [{"exists": false}]}), Some(b"7"), true),
        (&text, Some(b"ok"), true),
        (&text, Some(b""), true),
        (&text, Some(b"error"), false),
        (&text, Some(b"\"error\""), true),
        (&text, Some(b"\xff"), false),
        (&text, None, false),
        (&json!([{"exists": true}]), Some(b"\xff"), true),
        (&json!([{"exists": true}]), None, false),
        (&json!([{"exists": false}]), None, true),
        (&json!([{"exists": false}]), Some(b""), false),
    ] {
        assert_eq!(passes(json!([{"value": pattern}]), None, bytes, &[]), expected, "value {pattern} {bytes:?}");
        assert_eq!(passes(json!([{"key": pattern}]), bytes, None, &[]), expected, "key {pattern} {bytes:?}");
    }
}

#[test]
fn any_header_of_a_name_may_match() {
    let headers: Headers<'_> =
        &[("source", Some(b"a")), ("source", Some(b"b")), ("raw", Some(b"\xff")), ("none", None)];
    for (pattern, expected) in [
        (json!({"source": ["b"]}), true),
        (json!({"source": ["c"]}), false),
        (json!({"Source": ["b"]}), false),
        (json!({"source": ["a"], "other": [{"exists": false}]}), true),
        (json!({"source": [{"exists": false}]}), false),
        (json!({"raw": [{"exists": true}]}), true),
        (json!({"raw": [{"anything-but": "x"}]}), false),
        (json!({"none": [{"exists": true}]}), true),
        (json!({"$or": [{"source": ["c"]}, {"source": [{"prefix": "b"}]}]}), true),
    ] {
        assert_eq!(passes(json!([{"headers": pattern}]), None, None, headers), expected, "{pattern}");
    }
}

#[test]
fn any_pattern_is_enough_and_none_takes_all() {
    let value = Some(&br#"{"a": 1}"#[..]);
    assert!(passes(json!([]), None, None, &[]));
    assert!(passes(json!([{"value": {"a": [2]}}, {"key": ["k"]}]), Some(b"k"), value, &[]));
    assert!(!passes(json!([{"value": {"a": [1]}, "key": ["k"]}]), Some(b"l"), value, &[]));
    assert!(passes(json!([{"$or": [{"key": ["l"]}, {"value": {"a": [1]}}]}]), Some(b"k"), value, &[]));
    assert!(!passes(
        json!([{"$or": [{"key": ["l"]}, {"value": {"a": [1]}}], "headers": {"h": ["x"]}}]),
        None,
        value,
        &[]
    ));
}
