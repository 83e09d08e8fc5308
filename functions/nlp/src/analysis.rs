//! What an article says: sentiment, tickers, entities.

use tidemill_contract::ArticleNormalizedEvent;
use tidemill_contract::article::{Entity, Label, Sentiment};
use tidemill_contract::symbols::symbols;

use crate::entities::entities;
use crate::features::features;
use crate::model::probabilities;

/// What the analysis adds to an article.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrichment {
    /// Good or bad news.
    pub sentiment: Sentiment,
    /// Tickers, those the article came with first.
    pub symbols: Vec<String>,
    /// What the body names.
    pub entities: Vec<Entity>,
}

/// The model was fitted on texts of about this length, in bytes; longer ones are read in parts.
const PART: usize = 280;
/// The title sums the article up: it weighs as much as so many parts.
const TITLE: f64 = 3.0;
/// A long text is told from a neutral one by how far its mean leans.
const LEAN: f64 = 0.05;

/// Analyses an article.
pub fn analyse(article: &ArticleNormalizedEvent) -> Enrichment {
    let mut found = article.symbols.clone();
    for symbol in symbols(&format!("{}\n{}", article.title, article.body)) {
        if !found.contains(&symbol) {
            found.push(symbol);
        }
    }
    Enrichment {
        sentiment: sentiment(&article.title, &article.body),
        symbols: found,
        entities: entities(&article.body),
    }
}

/// The sentiment of a text with its title, which may be empty.
pub fn sentiment(title: &str, body: &str) -> Sentiment {
    let parts = parts(body);
    if title.trim().is_empty()
        && let [only] = parts.as_slice()
    {
        return of_one(only);
    }
    let titled = (!title.trim().is_empty()).then_some((title, TITLE));
    let weighted = titled.into_iter().chain(parts.into_iter().map(|part| (part, 1.0)));
    let (mut sum, mut weights) = (0.0, 0.0);
    for (text, weight) in weighted {
        sum += weight * of_one(text).score;
        weights += weight;
    }
    let score = rounded(if weights > 0.0 { sum / weights } else { 0.0 });
    let label = match score {
        score if score > LEAN => Label::Bullish,
        score if score < -LEAN => Label::Bearish,
        _ => Label::Neutral,
    };
    Sentiment { label, score }
}

fn of_one(text: &str) -> Sentiment {
    let [bearish, bullish, neutral] = probabilities(&features(text));
    let label = if neutral >= bearish && neutral >= bullish {
        Label::Neutral
    } else if bullish >= bearish {
        Label::Bullish
    } else {
        Label::Bearish
    };
    Sentiment { label, score: rounded(bullish - bearish) }
}

/// Four digits say all that the model knows.
fn rounded(score: f64) -> f64 {
    (score * 1e4).round() / 1e4
}

/// The text in parts of whole sentences; a short text is one part.
fn parts(text: &str) -> Vec<&str> {
    if text.len() <= PART {
        return vec![text];
    }
    let sentences = text.split_inclusive(['\n']).flat_map(|line| line.split_inclusive(". "));
    sentences.map(str::trim).filter(|sentence| !sentence.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(title: &str, body: &str, expected: Label) {
        let found = sentiment(title, body);
        assert_eq!(found.label, expected, "{title} / {body}: {}", found.score);
    }

    #[test]
    fn plain_cases() {
        check("", "Shares of the company surged to a record high after earnings beat estimates", Label::Bullish);
        check("", "Stock plunges as the company cuts its outlook and misses profit estimates", Label::Bearish);
        check("", "The company will publish its annual report on Thursday", Label::Neutral);
    }

    #[test]
    fn a_long_article_is_judged_by_all_of_it() {
        let good = "The shares jumped 9 percent after profit beat forecasts. ".repeat(8);
        check("Chip maker raises its outlook", &good, Label::Bullish);
        let bad = "The shares plunged 18 percent after the company warned of losses. ".repeat(8);
        check("Airline cuts its outlook", &bad, Label::Bearish);
    }

    proptest! {
        #[test]
        fn any_text_has_a_score(title in ".{0,40}", body in "(.|\n){0,600}") {
            let found = sentiment(&title, &body);
            prop_assert!((-1.0..=1.0).contains(&found.score));
        }
    }
}
