//! Manifests: YAML to JSON, the schema, the CEL rules, the rules in code, and the plan.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_api::{
    check,
    manifest::{self, Resource},
    plan::Plan,
};

fuzz_target!(|text: &str| {
    let Ok(documents) = manifest::documents(text) else { return };
    for document in &documents {
        match check::resource(document) {
            Ok(Some(Resource::Function(function))) => drop(Plan::of(&function)),
            Ok(_) => {}
            Err(problems) => {
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|problem| problem.line >= 1 && !problem.message.is_empty()));
            }
        }
    }
});
