//! What holds for all patterns and values.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill_filter::Filters;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (-3_i64..3).prop_map(|half| json!(half as f64 / 2.0)),
        "[abA]{0,3}".prop_map(Value::from),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Something like a pattern: some are right, most are not.
fn pattern() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "value",
        "key",
        "headers",
        "$or",
        "a",
        "prefix",
        "suffix",
        "wildcard",
        "anything-but",
        "numeric",
        "exists",
        "cidr",
        "equals-ignore-case",
    ]);
    scalar().prop_recursive(6, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..3)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn passes(test: Value, x: &Value) -> bool {
    let filters = Filters::compile(&[json!({"value": {"x": [test]}})]).expect("a pattern");
    filters.passes(None, Some(json!({ "x": x }).to_string().as_bytes()), std::iter::empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn anything_but_is_the_negation(texts in prop::collection::vec("[abA]{1,2}", 1..4), numbers in prop::collection::vec(-3_i64..3, 1..4), x in scalar()) {
        let any = |tests: Vec<Value>| tests.into_iter().any(|test| passes(test, &x));
        prop_assert_eq!(passes(json!({"anything-but": texts}), &x), !any(texts.iter().map(|text| json!(text)).collect()));
        prop_assert_eq!(passes(json!({"anything-but": numbers}), &x), !any(numbers.iter().map(|number| json!(number)).collect()));
        for operator in ["prefix", "suffix", "wildcard", "equals-ignore-case"] {
            let each = texts.iter().map(|text| json!({operator: text})).collect();
            prop_assert_eq!(passes(json!({"anything-but": {operator: texts}}), &x), !any(each), "{}", operator);
        }
    }

    #[test]
    fn a_leaf_is_there_or_not(document in data()) {
        let holds = |exists: bool| {
            let filters = Filters::compile(&[json!({"value": {"a": {"b": [{"exists": exists}]}}})]).expect("a pattern");
            filters.passes(None, Some(document.to_string().as_bytes()), std::iter::empty())
        };
        prop_assert_ne!(holds(true), holds(false), "{}", document);
    }

    #[test]
    fn a_value_matches_itself(x in scalar()) {
        prop_assert!(passes(x.clone(), &x));
    }

    #[test]
    fn nothing_panics(patterns in prop::collection::vec(pattern(), 0..3), value in data(), key in any::<Option<Vec<u8>>>()) {
        let Ok(filters) = Filters::compile(&patterns) else { return Ok(()) };
        let value = value.to_string();
        filters.passes(key.as_deref(), Some(value.as_bytes()), [("a", key.as_deref())].into_iter());
    }
}
