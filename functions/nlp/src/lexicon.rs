//! The lexicon: words that are good or bad news by themselves, how negations turn them and
//! intensifiers weigh them. It knows words the fitted weights have never met.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Bullish,
    Bearish,
    Negation,
    Intensifier,
}

/// How much good and bad news a text's words carry.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Weight of good news.
    pub bullish: f64,
    /// Weight of bad news.
    pub bearish: f64,
}

/// A negation or an intensifier works on so many following words.
const REACH: usize = 3;
const INTENSIFIED: f64 = 1.5;
/// Stems are looked up down to this length.
const SHORTEST_STEM: usize = 3;

struct Lexicon {
    words: HashMap<&'static str, Role>,
    stems: HashMap<&'static str, Role>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut lexicon = Lexicon { words: HashMap::new(), stems: HashMap::new() };
    for line in include_str!("lexicon.txt").lines() {
        let Some((name, words)) = line.split_once(": ") else { continue };
        let role = match name {
            "bullish" => Role::Bullish,
            "bearish" => Role::Bearish,
            "negation" => Role::Negation,
            "intensifier" => Role::Intensifier,
            _ => continue,
        };
        for word in words.split(' ') {
            match word.strip_suffix('*') {
                Some(stem) => lexicon.stems.insert(stem, role),
                None => lexicon.words.insert(word, role),
            };
        }
    }
    lexicon
});

/// Weighs the words of a text, given in lower case.
pub fn tally(words: &[String]) -> Tally {
    let roles: Vec<Option<Role>> = words.iter().map(|word| role(word)).collect();
    let mut tally = Tally::default();
    for (at, role) in roles.iter().enumerate() {
        let bullish = match role {
            Some(Role::Bullish) => true,
            Some(Role::Bearish) => false,
            _ => continue,
        };
        let before = &roles[at.saturating_sub(REACH)..at];
        let negated = before.iter().filter(|role| **role == Some(Role::Negation)).count() % 2 == 1;
        let intensified = before.contains(&Some(Role::Intensifier));
        let weight = if intensified { INTENSIFIED } else { 1.0 };
        if bullish == negated {
            tally.bearish += weight;
        } else {
            tally.bullish += weight;
        }
    }
    tally
}

fn role(word: &str) -> Option<Role> {
    LEXICON.words.get(word).copied().or_else(|| {
        (SHORTEST_STEM..=word.len())
            .rev()
            .filter_map(|end| word.get(..end))
            .find_map(|stem| LEXICON.stems.get(stem).copied())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, bullish: f64, bearish: f64) {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        assert_eq!(tally(&words), Tally { bullish, bearish }, "{text}");
    }

    #[test]
    fn words_negations_and_intensifiers() {
        check("shares surged after a strong quarter", 2.0, 0.0);
        check("profit did not grow", 1.0, 1.0);
        check("shares fell sharply lower", 0.0, 2.5);
        check("it never failed", 1.0, 0.0);
        check("the committee met on monday", 0.0, 0.0);
    }

    #[test]
    fn no_word_has_two_roles() {
        let mut seen = HashMap::new();
        for line in include_str!("lexicon.txt").lines().filter(|line| !line.starts_with('#')) {
            let (role, words) = line.split_once(": ").expect("role: words");
            for word in words.split(' ') {
                let other = seen.insert(word, role);
                assert!(other.is_none_or(|other| other == role || role == "intensifier"), "{word}");
            }
        }
    }
}
