//! What the model sees of a text, pure: its words and pairs of words, numbers and addresses
//! reduced to their kind, and the lexicon's tally. Changing this means fitting again.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::lexicon::tally;

static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x) https?://\S+ | \$[A-Za-z][A-Za-z.]{0,6}\b | [+-]?[$€£]?\d[\d.,]*\s?(?:%|percent)?
        | [A-Za-z][A-Za-z'’&.-]*[A-Za-z] | [A-Za-z]",
    )
    .expect("a good pattern")
});

/// Tallies above this are told no further apart.
const MOST: f64 = 4.0;

/// The words of a text, in lower case, numbers and addresses by kind.
pub fn words(text: &str) -> Vec<String> {
    TOKEN.find_iter(text).map(|token| word(token.as_str())).collect()
}

fn word(token: &str) -> String {
    if token.starts_with("http") && token.contains("://") {
        return "<url>".to_owned();
    }
    let sign = if token.starts_with('-') {
        "-"
    } else if token.starts_with('+') {
        "+"
    } else {
        ""
    };
    if token.trim_start_matches(['+', '-', '$', '€', '£']).starts_with(|c: char| c.is_ascii_digit()) {
        let percent = token.ends_with('%') || token.ends_with("percent");
        let money = token.contains(['$', '€', '£']);
        let kind = if percent {
            "%"
        } else if money {
            "$"
        } else {
            ""
        };
        return format!("{sign}0{kind}");
    }
    if token.starts_with('$') {
        return "<ticker>".to_owned();
    }
    token.to_lowercase().replace('’', "'")
}

/// The features of a text, each once.
pub fn features(text: &str) -> BTreeSet<String> {
    let words = words(text);
    let tally = tally(&words);
    let mut features: BTreeSet<String> = words.windows(2).map(|pair| format!("{} {}", pair[0], pair[1])).collect();
    let step = |weight: f64| weight.min(MOST).round();
    features.insert(format!("<good> {}", step(tally.bullish)));
    features.insert(format!("<bad> {}", step(tally.bearish)));
    features.insert(format!("<balance> {}", (tally.bullish - tally.bearish).clamp(-MOST, MOST).round()));
    features.extend(words);
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_kinds() {
        let found = words("$TSLA up +3.5% to $420.69, don’t ask https://x.example/y at 10:30");
        let expected = ["<ticker>", "up", "+0%", "to", "0$", "don't", "ask", "<url>", "at", "0", "0"];
        assert_eq!(found, expected);
    }

    #[test]
    fn pairs_and_tallies() {
        let found = features("Shares surged");
        for feature in ["shares", "shares surged", "<good> 1", "<bad> 0", "<balance> 1"] {
            assert!(found.contains(feature), "{feature} in {found:?}");
        }
    }
}
