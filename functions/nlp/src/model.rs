//! The fitted weights: how much each feature speaks for bearish, bullish and neutral. They are
//! in `weights.tsv`, written by `examples/fit_sentiment.rs`, at most 256 KiB.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// Classes in the order of the weights' columns: bearish, bullish, neutral.
pub const CLASSES: usize = 3;
/// A weight of one, as the file writes it.
pub const UNIT: f64 = 12.0;

static WEIGHTS: LazyLock<HashMap<&'static str, [f64; CLASSES]>> = LazyLock::new(|| parse(include_str!("weights.tsv")));

fn parse(text: &'static str) -> HashMap<&'static str, [f64; CLASSES]> {
    let line = |line: &'static str| {
        let mut columns = line.split('\t');
        let feature = columns.next()?;
        let mut weights = [0.0; CLASSES];
        for weight in &mut weights {
            *weight = columns.next()?.parse::<f64>().ok()? / UNIT;
        }
        Some((feature, weights))
    };
    text.lines().filter_map(line).collect()
}

/// How probable each class is for a text with these features.
pub fn probabilities(features: &BTreeSet<String>) -> [f64; CLASSES] {
    let known: Vec<&[f64; CLASSES]> = features.iter().filter_map(|feature| WEIGHTS.get(feature.as_str())).collect();
    softmax(&sum(&known))
}

/// The known features' weights added up; long texts have more of them and speak no louder.
pub fn sum(known: &[&[f64; CLASSES]]) -> [f64; CLASSES] {
    let scale = 1.0 / (known.len().max(1) as f64).sqrt();
    let mut sum = [0.0; CLASSES];
    for weights in known {
        for (class, weight) in sum.iter_mut().zip(*weights) {
            *class += weight * scale;
        }
    }
    sum
}

/// Probabilities from sums.
pub fn softmax(sums: &[f64; CLASSES]) -> [f64; CLASSES] {
    let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers = sums.map(|sum| (sum - most).exp());
    let total: f64 = powers.iter().sum();
    powers.map(|power| power / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_there_and_small() {
        let text = include_str!("weights.tsv");
        assert!(text.len() <= 256 * 1024, "{} bytes", text.len());
        assert_eq!(WEIGHTS.len(), text.lines().count(), "a line that is no weight");
        assert!(WEIGHTS.len() > 1_000);
    }
}
