//! Fits the sentiment weights: `fit_sentiment FILE.csv [OUTPUT.tsv]`, FILE with columns text and label
//! (0 bearish, 1 bullish, 2 neutral). Prints accuracy and macro-F1 of a five-fold
//! cross-validation, then fits on everything and writes the weights: softmax regression by
//! averaged gradient steps with L2, on the features that `nlp::features` gives.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use nlp::features::features;
use nlp::model::{CLASSES, UNIT, softmax, sum};
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};

const FOLDS: usize = 5;
const EPOCHS: usize = 14;
const LEARNING: f64 = 0.5;
const DECAY: f64 = 2e-5;
/// A feature met less often is left out.
const RARE: usize = 3;
const LARGEST_FILE: usize = 250 * 1024;

type Weights = HashMap<String, [f64; CLASSES]>;
type Example = (Vec<String>, usize);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("usage: fit_sentiment FILE.csv [OUTPUT.tsv]")?;
    let mut examples = Vec::new();
    for row in csv::Reader::from_path(path)?.records() {
        let row = row?;
        let label: usize = row[1].parse().context("a label is 0, 1 or 2")?;
        examples.push((features(&row[0]).into_iter().collect(), label));
    }
    examples.shuffle(&mut StdRng::seed_from_u64(1));
    let mut confusion = [[0_usize; CLASSES]; CLASSES];
    for fold in 0..FOLDS {
        let part = |held: bool| {
            let chosen = examples.iter().enumerate().filter(move |(n, _)| (n % FOLDS == fold) == held);
            chosen.map(|(_, example)| example).collect::<Vec<_>>()
        };
        let weights = shrink(fit(&part(false)));
        for (features, label) in part(true) {
            confusion[*label][predict(&weights, features)] += 1;
        }
    }
    report(&confusion);
    if let Some(output) = args.next() {
        let weights = shrink(fit(&examples.iter().collect::<Vec<_>>()));
        let lines: BTreeMap<_, _> = weights.iter().collect();
        let text: String = lines.iter().map(|(feature, weights)| line(feature, weights)).collect();
        std::fs::write(output, text)?;
    }
    Ok(())
}

fn fit(examples: &[&Example]) -> Weights {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for feature in examples.iter().flat_map(|(features, _)| features) {
        *counts.entry(feature).or_default() += 1;
    }
    let names: Vec<&str> = counts.into_iter().filter(|(_, n)| *n >= RARE).map(|(f, _)| f).collect();
    let index: HashMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (*name, n)).collect();
    let mut rows: Vec<(Vec<usize>, usize)> = examples
        .iter()
        .map(|(features, label)| {
            let known = features.iter().filter_map(|feature| index.get(feature.as_str()).copied());
            (known.collect(), *label)
        })
        .collect();
    let mut weights = vec![[0.0; CLASSES]; names.len()];
    let mut average = weights.clone();
    let mut random = StdRng::seed_from_u64(2);
    for epoch in 0..EPOCHS {
        rows.shuffle(&mut random);
        let step = LEARNING / (1.0 + epoch as f64 / 4.0);
        for (features, label) in &rows {
            let known: Vec<_> = features.iter().map(|feature| &weights[*feature]).collect();
            let mut error = softmax(&sum(&known));
            error[*label] -= 1.0;
            let scale = 1.0 / (features.len().max(1) as f64).sqrt();
            for feature in features {
                for (weight, error) in weights[*feature].iter_mut().zip(error) {
                    *weight -= step * (error * scale + DECAY * *weight * rows.len() as f64 / 100.0);
                }
            }
        }
        for (sum, weight) in average.iter_mut().flatten().zip(weights.iter().flatten()) {
            *sum += weight / EPOCHS as f64;
        }
    }
    names.into_iter().map(str::to_owned).zip(average).collect()
}

/// The weights as the file will hold them: whole steps, the strongest first, up to its size.
fn shrink(weights: Weights) -> Weights {
    let strength = |weights: &[f64; CLASSES]| weights.iter().map(|w| w.abs()).sum::<f64>();
    let mut sorted: Vec<_> = weights.into_iter().collect();
    sorted.sort_by(|a, b| strength(&b.1).total_cmp(&strength(&a.1)));
    let mut size = 0;
    let fits = |(feature, weights): &(String, [f64; CLASSES])| {
        size += line(feature, weights).len();
        size <= LARGEST_FILE
    };
    let kept = sorted.into_iter().take_while(fits);
    kept.map(|(feature, weights)| (feature, weights.map(|w| (w * UNIT).round() / UNIT))).collect()
}

fn line(feature: &str, weights: &[f64; CLASSES]) -> String {
    let [a, b, c] = weights.map(|weight| (weight * UNIT).round() as i64);
    format!("{feature}\t{a}\t{b}\t{c}\n")
}

fn predict(weights: &Weights, features: &[String]) -> usize {
    let known: Vec<_> = features.iter().filter_map(|feature| weights.get(feature)).collect();
    let sums = sum(&known);
    (0..CLASSES).max_by(|a, b| sums[*a].total_cmp(&sums[*b])).unwrap_or(CLASSES - 1)
}

fn report(confusion: &[[usize; CLASSES]; CLASSES]) {
    let total: usize = confusion.iter().flatten().sum();
    let right: usize = (0..CLASSES).map(|class| confusion[class][class]).sum();
    let f1 = |class: usize| {
        let found: usize = confusion.iter().map(|row| row[class]).sum();
        let real: usize = confusion[class].iter().sum();
        2.0 * confusion[class][class] as f64 / (found + real) as f64
    };
    let macro_f1 = (0..CLASSES).map(f1).sum::<f64>() / CLASSES as f64;
    println!("texts {total} accuracy {:.4} macro-F1 {macro_f1:.4}", right as f64 / total as f64);
}
