//! What a dead letter says about itself.

use std::collections::BTreeMap;
use tidemill_runner::record::Record;

/// The headers of a record as text.
///
/// # Panics
/// When a name is there twice, or one of the values that a runner adds is not text.
#[must_use]
pub fn headers(record: &Record) -> BTreeMap<&str, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in &record.headers {
        let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
        assert!(headers.insert(name.as_str(), text).is_none(), "header {name} is there twice");
    }
    headers
}

/// The reason of a dead letter: `error-type`, `error-message`.
///
/// # Panics
/// When it gives none.
#[must_use]
pub fn reason(letter: &Record) -> (String, String) {
    let mut headers = headers(letter);
    let mut take = |name| headers.remove(name).unwrap_or_else(|| panic!("a dead letter has no {name}"));
    (take("error-type"), take("error-message"))
}
