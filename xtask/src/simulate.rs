//! docs/scaling/: what the autoscaler's simulator says of each policy, as a table and as pictures.

mod picture;
mod table;

use anyhow::{Context, Result, bail};
use std::{fs, path::Path};
use tidemill_autoscaler::simulator::{Conditions, Replay, Score, Summary, Trace, policies, replay, traces};

/// How many alignments of the scalers' clocks with the load are replayed, evenly spread.
const PHASES: usize = 8;
/// The one that is drawn, in the middle.
const DRAWN_PHASE: usize = 3;
/// Policies that are drawn; the table has them all.
const DRAWN: usize = 3;

/// Replays all traces, prints the table and writes the files, or compares them with what is
/// committed.
pub fn run(root: &Path, check: bool) -> Result<()> {
    let (mut files, mut rows) = (Vec::new(), String::new());
    for trace in traces() {
        let phases: Vec<Vec<Replay>> = (0..PHASES).map(|phase| all_policies(&trace, phase)).collect();
        let drawn = phases.get(DRAWN_PHASE).and_then(|replays| replays.get(..DRAWN)).context("too few replays")?;
        files.push((format!("{}.svg", trace.name), picture::svg(&trace, drawn)?));
        for (index, Replay { policy, .. }) in phases.iter().take(1).flatten().enumerate() {
            let scores: Vec<Score> = phases.iter().filter_map(|replays| Some(replays.get(index)?.score)).collect();
            rows += &table::row(trace.name, policy, &Summary::of(&scores));
        }
    }
    let table = table::HEAD.to_owned() + &rows;
    print!("{table}");
    files.push(("results.md".to_owned(), table));
    let folder = root.join("docs/scaling");
    for (name, text) in files {
        let path = folder.join(name);
        if !check {
            fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
            fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
            continue;
        }
        let committed = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        if committed != text {
            bail!("{} is not current: run `cargo run --release -p xtask -- simulate`", path.display());
        }
    }
    Ok(())
}

fn all_policies(trace: &Trace, phase: usize) -> Vec<Replay> {
    let conditions = Conditions::default();
    let mut policies = policies(&conditions, (phase as f64 + 0.5) / PHASES as f64);
    policies.iter_mut().map(|policy| replay(trace, policy.as_mut(), conditions)).collect()
}
