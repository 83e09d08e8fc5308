//! Texts with `*` for any characters, matched in one pass.
//!
//! Between the first and the last `*`, each part may be taken where it first occurs: whatever
//! could match from a later place could match from there. So nothing is ever tried twice.

/// A compiled wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    first: String,
    middle: Vec<String>,
    /// Absent where there is no `*`.
    last: Option<String>,
}

/// Why a text is no wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("has `**`: write one `*`, or `\\*` for the character itself")]
    Consecutive,
    #[error("has a backslash before another character than `*` and `\\`: write `\\\\` for a backslash")]
    Escape,
}

impl Wildcard {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = vec![String::new()];
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let literal = match char {
                '*' if chars.peek() == Some(&'*') => return Err(Error::Consecutive),
                '*' => {
                    parts.push(String::new());
                    continue;
                }
                '\\' => chars.next().filter(|next| ['*', '\\'].contains(next)).ok_or(Error::Escape)?,
                other => other,
            };
            if let Some(part) = parts.last_mut() {
                part.push(literal);
            }
        }
        let last = (parts.len() > 1).then(|| parts.pop()).flatten();
        let middle = parts.split_off(1);
        Ok(Self { first: parts.pop().unwrap_or_default(), middle, last })
    }

    pub fn matches(&self, text: &str) -> bool {
        let Some(last) = &self.last else { return text == self.first };
        let inner = text.strip_prefix(self.first.as_str()).and_then(|text| text.strip_suffix(last.as_str()));
        let Some(mut rest) = inner else { return false };
        self.middle.iter().all(|part| {
            let found = rest.find(part.as_str());
            rest = found.map_or("", |start| &rest[start + part.len()..]);
            found.is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Wildcard};
    use proptest::prelude::*;

    #[test]
    fn parts_are_found_in_their_order() {
        for (pattern, text, matches) in [
            ("dir/*.png", "dir/a.png", true),
            ("dir/*.png", "dir/.png", true),
            ("dir/*.png", "dir/a.jpg", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "xabyabz", true),
            ("*ab*ab*", "xaby", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"a\\*", r"a\b", true),
            ("*é*", "café!", true),
        ] {
            let wildcard = Wildcard::parse(pattern).expect(pattern);
            assert_eq!(wildcard.matches(text), matches, "{pattern} {text}");
        }
        for (pattern, error) in [("a**b", Error::Consecutive), (r"a\b", Error::Escape), (r"a\", Error::Escape)] {
            assert_eq!(Wildcard::parse(pattern), Err(error), "{pattern}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_text() {
        let wildcard = Wildcard::parse(&format!("{}b*", "*a".repeat(500))).expect("a wildcard");
        assert!(!wildcard.matches(&"a".repeat(1_000_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn as_a_regular_expression_does(parts in prop::collection::vec("[ab\\\\*é]{0,2}", 1..5), text in "[ab\\\\*é]{0,10}") {
            // Parts are literal; `*` joins them.
            let last = parts.len() - 1;
            let kept = parts.into_iter().enumerate().filter(|(i, part)| *i == 0 || *i == last || !part.is_empty());
            let parts: Vec<String> = kept.map(|(_, part)| part).collect();
            let pattern: Vec<_> = parts.iter().map(|part| part.replace('\\', r"\\").replace('*', r"\*")).collect();
            let oracle: Vec<_> = parts.iter().map(|part| regex::escape(part)).collect();
            let oracle = regex::Regex::new(&format!("(?s)^{}$", oracle.join(".*"))).expect("a regular expression");
            let wildcard = Wildcard::parse(&pattern.join("*")).expect("a wildcard");
            prop_assert_eq!(wildcard.matches(&text), oracle.is_match(&text));
        }
    }
}
