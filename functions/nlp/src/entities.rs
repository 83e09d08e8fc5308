//! What a text names: tickers, money, percentages, and with modest heuristics organisations and
//! people. Entities are in order, do not overlap, and their offsets count characters.

use std::sync::LazyLock;

use regex::Regex;
use tidemill_contract::article::{Entity, EntityKind};
use tidemill_contract::symbols::mentions;

/// Kinds by pattern; the named group `it` is the entity. Where two overlap, the earlier wins.
static PATTERNS: LazyLock<Vec<(EntityKind, Regex)>> = LazyLock::new(|| {
    let name = r"[A-Z][\p{L}'’-]+";
    let more = format!(r"(?:{name}|&)");
    [
        (EntityKind::Percent, r"(?P<it>[+-]?\d+(?:[.,]\d+)*\s?(?:%|percent\b|per cent\b))".to_owned()),
        (
            EntityKind::Money,
            r"(?x)(?P<it>(?:US|C|A|HK)?[$€£¥₩]\s?\d+(?:[.,]\d+)*(?:\s?(?:thousand|million|billion|trillion|mn|bn|[kKmMbB])\b)?
              | \b\d+(?:[.,]\d+)*\s(?:thousand\s|million\s|billion\s|trillion\s)?(?:dollars|euros|pounds|yen|won|krona|USD|EUR|GBP|KRW)\b)".to_owned(),
        ),
        (
            EntityKind::Organization,
            format!(
                r"(?x)\b(?P<it>{name}(?:\s{more})*\s
                  (?:Inc|Corp|Corporation|Company|Co|Ltd|Limited|LLC|PLC|plc|AG|SA|NV|Group|Holdings|Bank|Bancorp|Capital|Partners|Research
                    |Analytics|Institute|Markets|Foundation|Securities|Exchange|Semiconductor|Airlines|Foods|Consolidated|Commission
                    |Reserve|Ministry|University|Technologies|Labs|Ventures|Trust|Insurance)\b)"
            ),
        ),
        (
            EntityKind::Person,
            format!(r"(?:\bsaid|\bsays|\bwrote|\btold|\bexecutive,|\bofficer,|\bfounder,|\bsecurity,)\s(?P<it>{name}(?:\s{name}){{1,2}})"),
        ),
        (
            EntityKind::Person,
            format!(r"\b(?P<it>{name}\s{name}),\s(?:who|chief|head|the\s(?:chief|head|founder|minister)|an?\s(?:analyst|economist|dealer|trader|lawyer))\b"),
        ),
    ]
    .into_iter()
    .map(|(kind, pattern)| (kind, Regex::new(&pattern).expect("a good pattern")))
    .collect()
});

/// The entities of a text.
pub fn entities(text: &str) -> Vec<Entity> {
    let mut spans: Vec<(usize, usize, EntityKind)> =
        mentions(text).into_iter().map(|m| (m.start, m.end, EntityKind::Ticker)).collect();
    for (kind, pattern) in PATTERNS.iter() {
        for captures in pattern.captures_iter(text) {
            let Some(it) = captures.name("it") else { continue };
            let free = |(start, end, _): &(usize, usize, EntityKind)| it.end() <= *start || *end <= it.start();
            if spans.iter().all(free) {
                spans.push((it.start(), it.end(), *kind));
            }
        }
    }
    spans.sort_unstable();
    let (mut at, mut characters) = (0, 0);
    let mut count_to = |byte: usize| {
        characters += text[at..byte].chars().count();
        at = byte;
        characters
    };
    spans
        .into_iter()
        .map(|(start, end, kind)| Entity {
            text: text[start..end].to_owned(),
            kind,
            start: count_to(start),
            end: count_to(end),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds() {
        let text = "„BTC“ rose 3.5 % — said Teodor Haas of Corvane Analytics. It cost $4.3 billion, or \
                    310 million euros; Pawel Nowicki, a dealer, shrugged.";
        let found: Vec<_> = entities(text).into_iter().map(|e| (e.kind, e.text)).collect();
        let expected = [
            (EntityKind::Ticker, "BTC"),
            (EntityKind::Percent, "3.5 %"),
            (EntityKind::Person, "Teodor Haas"),
            (EntityKind::Organization, "Corvane Analytics"),
            (EntityKind::Money, "$4.3 billion"),
            (EntityKind::Money, "310 million euros"),
            (EntityKind::Person, "Pawel Nowicki"),
        ];
        assert_eq!(found, expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    proptest! {
        #[test]
        fn offsets_cut_the_text(text in "([A-Z][a-zé]{2,5} |said |\\$BTC |5 % |€3 million |„|Bank |, who ){0,20}") {
            let characters: Vec<char> = text.chars().collect();
            let mut last = 0;
            for entity in entities(&text) {
                prop_assert!(entity.start >= last && entity.start < entity.end);
                let cut: String = characters[entity.start..entity.end].iter().collect();
                prop_assert_eq!(cut, entity.text);
                last = entity.end;
            }
        }
    }
}
