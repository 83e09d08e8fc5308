//! What a function may answer, for functions with and without `output`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tidemill_api::{Delivery, plan::OutputPlan};
use tidemill_runner::{answer, encode::Encodings, entry::Entry, record::Record};

static OUTPUT: LazyLock<OutputPlan> = LazyLock::new(|| OutputPlan {
    cluster: "default/main".to_owned(),
    topic: "out".to_owned(),
    allowed_topics: vec!["other".to_owned()],
    delivery: Delivery::AtLeastOnce,
});

static BATCH: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let record = |offset| Record { topic: "raw".into(), offset, ..Record::default() };
    (10..13).map(|offset| Entry::from(record(offset))).collect()
});

fuzz_target!(|body: &[u8]| {
    for output in [None, Some(&*OUTPUT)] {
        let Ok(answer) = answer::read(body, &BATCH, output, &Encodings::default()) else { continue };
        // Each record is done, failed or dropped: never more than there are, and none twice.
        assert!(answer.failures.len() + answer.dropped <= BATCH.len());
        assert!(answer.failures.keys().all(|index| *index < BATCH.len()));
        assert!(output.is_some() || answer.outputs.is_empty());
        assert!(answer.outputs.iter().all(|record| ["out", "other"].contains(&record.topic.as_str())));
    }
});
