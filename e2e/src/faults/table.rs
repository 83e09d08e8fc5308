//! What is told of a run: a line for each round, a table at the end, and whether all was kept.

use super::{groups::Mode, ledger::Verdict, plan::Fault};
use std::{collections::BTreeMap, fmt, time::Duration};

/// One round.
#[derive(Clone, Debug)]
pub struct Row {
    /// What went wrong.
    pub fault: Fault,
    /// Whom it met.
    pub victim: String,
    /// How long it was so.
    pub lasted: Duration,
    /// How long after that all had come out.
    pub recovered: Duration,
    /// Records that were acknowledged meanwhile.
    pub r#in: usize,
    /// What is to be said of each group, since the run began.
    pub verdicts: Vec<(&'static str, Verdict)>,
}

/// A run.
#[derive(Debug, Default)]
pub struct Table {
    /// What decided its faults.
    pub seed: u64,
    rows: Vec<Row>,
    /// Of each row, what was repeated in it, for each group.
    repeated: Vec<Vec<usize>>,
    /// What is to be said of each group at the end.
    pub end: Vec<(&'static str, Verdict)>,
    /// Records that were acknowledged.
    pub acknowledged: usize,
    /// Records that may have been taken or not.
    pub unknown: usize,
    /// Why runners ended by themselves; each was started again.
    pub restarts: Vec<String>,
    /// Records that a runner an hour ahead has caused, and one an hour behind.
    pub clocks: [usize; 2],
    /// Invocations with records of several partitions: of the group that may have them, and of one that may not.
    pub spread: [usize; 2],
    /// How long all of it took.
    pub lasted: Duration,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Adds a round, and tells it.
    pub fn add(&mut self, row: Row, since: Duration) {
        let before = |group: usize| self.rows.last().map_or(0, |row| row.verdicts[group].1.repeated);
        let repeated: Vec<_> =
            row.verdicts.iter().enumerate().map(|(group, (_, verdict))| verdict.repeated - before(group)).collect();
        let groups = row.verdicts.iter().zip(&repeated).map(|((name, verdict), repeated)| {
            let wrongly = match verdict.is_good() {
                true => String::new(),
                false => format!(" WRONG: {}", reasons(verdict)),
            };
            format!("{name} lost {} repeated {repeated}{wrongly}", verdict.lost.len())
        });
        println!(
            "{:4.0} s  {:<24} {:4.1} s, {:4.1} s until all was out ({}); in {}; {}",
            since.as_secs_f64(),
            row.fault,
            row.lasted.as_secs_f64(),
            row.recovered.as_secs_f64(),
            row.victim,
            row.r#in,
            groups.collect::<Vec<_>>().join("; ")
        );
        self.repeated.push(repeated);
        self.rows.push(row);
    }

    /// Whether nothing was lost, repeated wrongly or out of order, and each fault that was to be
    /// seen was seen.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let kept = self.end.iter().all(|(_, verdict)| verdict.is_good());
        let had = |fault| self.rows.iter().any(|row| row.fault == fault);
        // A clock that nobody has seen jump proves nothing.
        let [ahead, behind] = self.clocks;
        // Nor does a group that shares nothing.
        let [spanning, partition] = self.spread;
        let shared = spanning > 0 && partition == 0;
        kept && shared
            && !self.end.is_empty()
            && (!had(Fault::Forward) || ahead > 0)
            && (!had(Fault::Backward) || behind > 0)
    }
}

fn reasons(verdict: &Verdict) -> String {
    let some = |numbers: Vec<String>| numbers.into_iter().take(5).collect::<Vec<_>>().join(", ");
    format!(
        "lost [{}], repeated where they may not [{}], inversions [{}]",
        some(verdict.lost.iter().map(u64::to_string).collect()),
        wrongly(&verdict.wrongly),
        some(verdict.inversions.iter().map(|pair| format!("{pair:?}")).collect()),
    )
}

/// From which copy to which: what was repeated together has much in common.
fn wrongly(copies: &BTreeMap<u64, Vec<i64>>) -> String {
    let (Some(first), Some(last)) = (copies.first_key_value(), copies.last_key_value()) else { return String::new() };
    let of = |(number, times): (&u64, &Vec<i64>)| format!("{number} at {times:?}");
    let between = |index: usize| {
        let times = copies.values().filter_map(|times| times.get(index));
        format!("{:?} to {:?}", times.clone().min(), times.max())
    };
    format!("{} of them, {} to {}, first {}, second {}", copies.len(), of(first), of(last), between(0), between(1))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.end.iter().map(|(name, _)| *name).collect();
        let shared: Vec<_> = Mode::ALL.into_iter().filter(|mode| mode.is_shared()).map(Mode::name).collect();
        writeln!(f, "\n| fault | times | seconds | until all was out | in | {} |", repeated(&names))?;
        writeln!(f, "|---|---|---|---|---|{}", "---|".repeat(names.len()))?;
        let mut faults: BTreeMap<Fault, Vec<usize>> = BTreeMap::new();
        for (index, row) in self.rows.iter().enumerate() {
            faults.entry(row.fault).or_default().push(index);
        }
        for (fault, indexes) in faults {
            let rows: Vec<_> = indexes.iter().map(|index| &self.rows[*index]).collect();
            let longest = rows.iter().map(|row| row.recovered.as_secs_f64()).fold(0.0, f64::max);
            let lasted: f64 = rows.iter().map(|row| row.lasted.as_secs_f64()).sum();
            let records: usize = rows.iter().map(|row| row.r#in).sum();
            let of = |group: usize| {
                let repeated: usize = indexes.iter().map(|index| self.repeated[*index][group]).sum();
                let met = !fault.is_for_shared() || shared.contains(&names[group]);
                if met || repeated > 0 { repeated.to_string() } else { "–".to_owned() }
            };
            let repeated: Vec<_> = (0..names.len()).map(of).collect();
            writeln!(
                f,
                "| {fault} | {} | {lasted:.0} | ≤ {longest:.0} s | {records} | {} |",
                rows.len(),
                repeated.join(" | ")
            )?;
        }
        writeln!(f, "\n| group | in | out | lost | repeated | of them wrongly | inversions |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for (name, verdict) in &self.end {
            let Verdict { out, lost, repeated, wrongly, inversions } = verdict;
            let (lost, wrongly, inversions) = (lost.len(), wrongly.len(), inversions.len());
            writeln!(f, "| {name} | {} | {out} | {lost} | {repeated} | {wrongly} | {inversions} |", self.acknowledged)?;
        }
        writeln!(
            f,
            "\nseed {}, {} rounds in {:.1} minutes; {} records acknowledged, {} that may be there or not; \
             {} runners ended by themselves and were started again; records under a clock an hour ahead {}, behind {}; \
             {} events of several partitions (`partition`: {})",
            self.seed,
            self.rows.len(),
            self.lasted.as_secs_f64() / 60.0,
            self.acknowledged,
            self.unknown,
            self.restarts.len(),
            self.clocks[0],
            self.clocks[1],
            self.spread[0],
            self.spread[1]
        )?;
        let mut reasons_to_end: BTreeMap<&str, usize> = BTreeMap::new();
        self.restarts.iter().for_each(|reason| *reasons_to_end.entry(reason).or_default() += 1);
        for (reason, times) in reasons_to_end {
            writeln!(f, "ended by itself {times} times: {reason}")?;
        }
        for (name, verdict) in self.end.iter().filter(|(_, verdict)| !verdict.is_good()) {
            writeln!(f, "{name}: {}", reasons(verdict))?;
        }
        write!(f, "{}", if self.is_good() { "all promises were kept" } else { "a promise was NOT kept" })
    }
}

fn repeated(names: &[&str]) -> String {
    names.iter().map(|name| format!("repeated: {name}")).collect::<Vec<_>>().join(" | ")
}
