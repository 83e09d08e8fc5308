//! The two spellings of a place in a manifest: `spec.topics[0]` and `/spec/topics/0`.

/// `/spec/topics/0` → `spec.topics[0]`.
pub fn field_of(pointer: &str) -> String {
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
pub fn pointer_of(field: &str) -> String {
    field
        .split(['.', '['])
        .filter(|part| !part.is_empty())
        .fold(String::new(), |pointer, part| pointer + "/" + part.trim_end_matches(']'))
}
