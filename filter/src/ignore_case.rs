//! Comparing texts whatever their case, without making copies of them.

pub fn equals(one: &str, other: &str) -> bool {
    folded(one).eq(folded(other))
}

pub fn begins(text: &str, prefix: &str) -> bool {
    starts_with(folded(text), folded(prefix))
}

pub fn ends(text: &str, suffix: &str) -> bool {
    starts_with(folded(text).rev(), folded(suffix).rev())
}

/// Up and down again, so that letters with several lower-case forms (σ, ς) are one.
fn folded(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

fn starts_with(mut text: impl Iterator<Item = char>, beginning: impl Iterator<Item = char>) -> bool {
    beginning.into_iter().all(|expected| text.next() == Some(expected))
}

#[cfg(test)]
mod tests {
    use super::{begins, ends, equals};

    #[test]
    fn case_makes_no_difference() {
        for (one, other, same) in [
            ("alice", "ALICE", true),
            ("Straße", "STRASSE", true),
            ("Όδος", "ΌΔΟΣ", true),
            ("alice", "alicia", false),
            ("", "a", false),
            ("", "", true),
        ] {
            assert_eq!(equals(one, other), same, "{one} {other}");
            assert_eq!(begins(one, other), same, "{one} {other}");
            assert_eq!(ends(one, other), same, "{one} {other}");
        }
        assert!(begins("EventBridge", "EVENTB") && !begins("Event", "EVENTB"));
        assert!(ends("EventBridge", "tbRIDGE") && !ends("bridge", "tbridge"));
    }
}
