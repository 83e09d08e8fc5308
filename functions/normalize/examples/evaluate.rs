//! Measures the extraction of main texts: `evaluate FOLDER`, where FOLDER holds
//! `<id>.html.gz` and `ground-truth.json` (id → `{articleBody, url}`). Prints precision,
//! recall and F1 as `evaluate.py` of scrapinghub/article-extraction-benchmark defines them:
//! shingles of four words, counted per page, normalized by page, averaged over pages.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::read::GzDecoder;
use normalize::extract::main_text;
use normalize::html::repair;
use serde::Deserialize;
use trafilatura::dom::Document;
use url::Url;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Truth {
    article_body: String,
    url: String,
}

struct Score {
    precision: Option<f64>,
    recall: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args().nth(1).context("usage: evaluate FOLDER")?.into();
    let truth: BTreeMap<String, Truth> = serde_json::from_reader(File::open(folder.join("ground-truth.json"))?)?;
    let mut scores = Vec::new();
    for (id, truth) in &truth {
        let html = read(&folder.join(format!("{id}.html.gz"))).context(id.clone())?;
        let html = repair(&html);
        let url = Url::parse(&truth.url)?;
        let found = main_text(&html, &Document::parse(&html), &url).map_or(String::new(), |m| m.text);
        let score = score(&truth.article_body, &found);
        if std::env::args().any(|arg| arg == "--pages") {
            println!("{:.3} {:.3} {id}", score.precision.unwrap_or(0.0), score.recall.unwrap_or(0.0));
        }
        scores.push(score);
    }
    let precision = mean(scores.iter().filter_map(|score| score.precision));
    let recall = mean(scores.iter().filter_map(|score| score.recall));
    let f1 = 2.0 * precision * recall / (precision + recall);
    println!("pages {} precision {precision:.4} recall {recall:.4} F1 {f1:.4}", scores.len());
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn score(truth: &str, found: &str) -> Score {
    let (truth, found) = (shingles(truth), shingles(found));
    let both: usize = truth.iter().map(|(key, count)| *count.min(found.get(key).unwrap_or(&0))).sum();
    let share = |of: usize| (of > 0).then(|| both as f64 / of as f64);
    Score { precision: share(found.values().sum()), recall: share(truth.values().sum()) }
}

/// Shingles of four words and how often each occurs; a shorter text is one shingle.
fn shingles(text: &str) -> HashMap<Vec<&str>, usize> {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
    let mut shingles = HashMap::new();
    for shingle in words.windows(4.min(words.len().max(1))) {
        *shingles.entry(shingle.to_vec()).or_default() += 1;
    }
    shingles
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}
