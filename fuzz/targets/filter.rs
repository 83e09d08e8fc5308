//! Filters: the first line is the list of patterns, the rest is a record's value, key and header.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tidemill_filter::Filters;

fuzz_target!(|input: &[u8]| -> Corpus {
    let (patterns, data) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], Some(&input[end + 1..])),
        None => (input, None),
    };
    let Ok(Value::Array(patterns)) = serde_json::from_slice(patterns) else { return Corpus::Reject };
    match Filters::compile(&patterns) {
        Ok(filters) => {
            let passes = || filters.passes(data, data, [("h", data), ("", None)].into_iter());
            assert_eq!(passes(), passes());
            assert!(!patterns.is_empty() || passes());
        }
        // The place it names is one that there is.
        Err(error) => assert!(Value::Array(patterns).pointer(&error.pointer).is_some(), "{error}"),
    }
    Corpus::Keep
});
