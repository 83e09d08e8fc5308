//! Measures the shipped sentiment: `evaluate_sentiment FILE.csv`, FILE with columns text and label
//! (0 bearish, 1 bullish, 2 neutral). Prints accuracy and macro-F1.

use anyhow::Context;
use nlp::analysis::sentiment;
use tidemill_contract::article::Label;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: evaluate_sentiment FILE.csv")?;
    let mut confusion = [[0_usize; 3]; 3];
    for row in csv::Reader::from_path(path)?.records() {
        let row = row?;
        let label: usize = row[1].parse().context("a label is 0, 1 or 2")?;
        let found = match sentiment("", &row[0]).label {
            Label::Bearish => 0,
            Label::Bullish => 1,
            Label::Neutral => 2,
        };
        confusion.get_mut(label).context("a label is 0, 1 or 2")?[found] += 1;
    }
    let total: usize = confusion.iter().flatten().sum();
    let right: usize = (0..3).map(|class| confusion[class][class]).sum();
    let f1 = |class: usize| {
        let found: usize = confusion.iter().map(|row| row[class]).sum();
        let real: usize = confusion[class].iter().sum();
        2.0 * confusion[class][class] as f64 / (found + real) as f64
    };
    let macro_f1 = (f1(0) + f1(1) + f1(2)) / 3.0;
    println!("texts {total} accuracy {:.4} macro-F1 {macro_f1:.4}", right as f64 / total as f64);
    Ok(())
}
