//! docs/scaling/results.md.

use tidemill_autoscaler::simulator::Summary;

/// What is above the rows.
pub const HEAD: &str = "\
# Results of the simulator

Made by `cargo run --release -p xtask -- simulate`; [scaling.md](../scaling.md) says what is simulated
and what the columns mean. Each row is 8 replays: means, the least and the most, the longest wait.

| trace | policy | late record-seconds | least to most | pod-seconds | scalings | rebalances | worst wait | backlog at the end |
|---|---|---:|---:|---:|---:|---:|---:|---:|
";

/// The row of one policy on one trace.
pub fn row(trace: &str, policy: &str, summary: &Summary) -> String {
    format!(
        "| {trace} | {policy} | {} | {} to {} | {} | {:.0} | {:.0} | {:.1} s | {} |\n",
        grouped(summary.late),
        grouped(summary.least_late),
        grouped(summary.most_late),
        grouped(summary.pods),
        summary.scalings,
        summary.rebalances,
        summary.worst_wait.as_secs_f64(),
        grouped(summary.backlog),
    )
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
