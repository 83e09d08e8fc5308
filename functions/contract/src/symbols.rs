//! Tickers in a text: `$BTC`, `BTC`, `BTCUSDT` and known names. Made for precision: a bare word
//! counts only where the table says that it means nothing else. Offsets are bytes of the text.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A symbol where the text mentions it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The ticker: `BTC`.
    pub symbol: String,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The mentioned symbols in order of first mention, each once.
pub fn symbols(text: &str) -> Vec<String> {
    let mut symbols = Vec::new();
    for mention in mentions(text) {
        if !symbols.contains(&mention.symbol) {
            symbols.push(mention.symbol);
        }
    }
    symbols
}

/// Every mention, in order, none overlapping another.
pub fn mentions(text: &str) -> Vec<Mention> {
    let words = words(text);
    let mut mentions = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match cashtag(text, &words, at).or_else(|| name(text, &words, at)) {
            Some((symbol, start, last)) => {
                mentions.push(Mention { symbol, start, end: words[last].1 });
                at = last + 1;
            }
            None => at += 1,
        }
    }
    mentions
}

const LONGEST_NAME: usize = 4;
/// What follows a currency sign after an amount left out: "US $m".
const UNITS: &[&str] = &["k", "m", "b", "mn", "mm", "bn", "tn"];
const QUOTES: &[&str] = &["USDT", "USDC", "USD", "EUR"];

struct Table {
    bare: HashMap<&'static str, &'static str>,
    names: HashMap<String, Vec<(&'static str, &'static str)>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { bare: HashMap::new(), names: HashMap::new() };
    for line in include_str!("symbols.tsv").lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(symbol), Some(how), Some(names)) = (columns.next(), columns.next(), columns.next()) else {
            continue;
        };
        if how == "bare" {
            table.bare.insert(symbol, symbol);
        }
        for name in names.split(';') {
            table.names.entry(name.to_lowercase()).or_default().push((name, symbol));
        }
    }
    table
});

/// Byte ranges of the text's words; `&`, `'` and `-` hold a word together.
fn words(text: &str) -> Vec<(usize, usize)> {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '&' | '\'' | '-');
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, inside(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn cashtag(text: &str, words: &[(usize, usize)], at: usize) -> Option<(String, usize, usize)> {
    let (start, end) = words[at];
    let before = text[..start].strip_suffix('$')?;
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '$') {
        return None;
    }
    let word = text[start..end].trim_end_matches("'s").trim_end_matches(['\'', '-', '&']);
    let letters = word.chars().all(|c| c.is_ascii_alphabetic());
    if !letters || word.is_empty() || word.len() > 6 || UNITS.contains(&word) {
        return None;
    }
    let word = word.to_ascii_uppercase();
    Some((pair(&word).map_or(word.clone(), str::to_owned), start - 1, at))
}

fn name(text: &str, words: &[(usize, usize)], at: usize) -> Option<(String, usize, usize)> {
    let start = words[at].0;
    for last in (at..words.len().min(at + LONGEST_NAME)).rev() {
        let phrase = text[start..words[last].1].trim_end_matches("'s").trim_end_matches('\'');
        if last == at
            && let Some(symbol) = TABLE.bare.get(phrase).copied().or_else(|| pair(phrase))
        {
            return Some((symbol.to_owned(), start, at));
        }
        let known = TABLE.names.get(&phrase.to_lowercase());
        for (name, symbol) in known.into_iter().flatten() {
            let as_written = name.starts_with(char::is_lowercase) || phrase.starts_with(char::is_uppercase);
            if as_written {
                return Some(((*symbol).to_owned(), start, last));
            }
        }
    }
    None
}

/// The base of a pair as exchanges write it: `BTC` of `BTCUSDT`.
fn pair(word: &str) -> Option<&'static str> {
    QUOTES.iter().find_map(|quote| TABLE.bare.get(word.strip_suffix(quote)?).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(symbols(text), expected, "{text}");
    }

    #[test]
    fn finds() {
        check("$BTC rises, $eth falls; $TSLA's day", &["BTC", "ETH", "TSLA"]);
        check("Bitcoin and bitcoin, BTC/USDT, SOLUSDT", &["BTC", "USDT", "SOL"]);
        check("Goldman Sachs likes Apple's margins", &["GS", "AAPL"]);
        check("AT&T, Johnson & Johnson and Ripple", &["T", "JNJ", "XRP"]);
    }

    #[test]
    fn leaves_plain_words_alone() {
        for text in [
            "the link is near the dot, a solid cost, all in all",
            "an apple a day; amazon rivers; a tesla coil",
            "paid $10 and US$m 3 and $5bn, $m",
            "Ada wrote a program. A ripple in the pond.",
            "IT IS A GOOD DAY FOR V AND MA",
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn mentions_cut_the_text_where_they_stand() {
        let text = "„$BTC“ – Bank of America";
        let found: Vec<_> = mentions(text).iter().map(|m| &text[m.start..m.end]).collect();
        assert_eq!(found, ["$BTC", "Bank of America"]);
    }

    #[test]
    fn every_line_of_the_table_is_used() {
        let lines = include_str!("symbols.tsv").lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert_eq!(line.split('\t').filter(|column| !column.is_empty()).count(), 3, "{line}");
        }
    }
}
