//! What is told of a run: a line for each round, a table at the end, and whether all was kept and each
//! fault was seen.

use super::{groups::Mode, ledger::Verdict, plan::Fault, strike::Struck};
use std::{collections::BTreeMap, fmt, time::Duration};

/// One round.
#[derive(Clone, Debug)]
pub struct Row {
    /// What went wrong.
    pub fault: Fault,
    /// What came of it.
    pub struck: Struck,
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
    /// Records that the producer has put in twice.
    pub twice: usize,
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
        // What is found to have gone in twice is repeated no more.
        let more = |group: usize, verdict: &Verdict| verdict.repeated.saturating_sub(before(group));
        let repeated: Vec<_> =
            row.verdicts.iter().enumerate().map(|(group, (_, verdict))| more(group, verdict)).collect();
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
            row.struck.victim,
            row.r#in,
            groups.collect::<Vec<_>>().join("; ")
        );
        row.struck.unseen.iter().for_each(|what| println!("        NOT SEEN: {what}"));
        self.repeated.push(repeated);
        self.rows.push(row);
    }

    /// Whether every promise was kept, and each fault happened.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_kept() && self.unseen().next().is_none()
    }

    /// Whether nothing was lost, repeated wrongly or out of order.
    fn is_kept(&self) -> bool {
        // A group that shares nothing proves nothing.
        let [spanning, partition] = self.spread;
        let shared = spanning > 0 && partition == 0;
        shared && !self.end.is_empty() && self.end.iter().all(|(_, verdict)| verdict.is_good())
    }

    /// A sentence for each sign of a fault that was missing.
    fn unseen(&self) -> impl Iterator<Item = String> {
        let rows = self.rows.iter().enumerate();
        rows.flat_map(|(index, Row { fault, struck, .. })| {
            struck.unseen.iter().map(move |what| format!("round {}, {fault}: not seen was {what}", index + 1))
        })
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
            "\nseed {}, {} rounds in {:.1} minutes; {} records acknowledged, {} that may be there or not, {} that went in twice; \
             {} runners ended by themselves and were started again; records under a clock an hour ahead {}, behind {}; \
             {} events of several partitions (`partition`: {})",
            self.seed,
            self.rows.len(),
            self.lasted.as_secs_f64() / 60.0,
            self.acknowledged,
            self.unknown,
            self.twice,
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
        self.unseen().try_for_each(|sentence| writeln!(f, "{sentence}"))?;
        write!(f, "{}", if self.is_kept() { "all promises were kept" } else { "a promise was NOT kept" })?;
        if self.unseen().next().is_some() { write!(f, ", but a fault did NOT happen as it should") } else { Ok(()) }
    }
}

fn repeated(names: &[&str]) -> String {
    names.iter().map(|name| format!("repeated: {name}")).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::{Row, Table};
    use crate::faults::{ledger::Verdict, plan::Fault, strike::Struck};
    use std::time::Duration;

    fn run(unseen: &[&[&str]]) -> Table {
        let verdicts = vec![("partition", Verdict::default())];
        let mut table = Table { end: verdicts.clone(), spread: [1, 0], ..Table::new(1) };
        for unseen in unseen {
            let unseen = unseen.iter().map(|what| (*what).to_owned()).collect();
            let struck = Struck { victim: "broker 2".to_owned(), unseen };
            let (lasted, recovered) = (Duration::ZERO, Duration::ZERO);
            let row = Row { fault: Fault::FullDisk, struck, lasted, recovered, r#in: 0, verdicts: verdicts.clone() };
            table.add(row, Duration::ZERO);
        }
        table
    }

    #[test]
    fn a_fault_that_was_not_seen_makes_the_run_bad_and_is_named() {
        let good = run(&[&[], &[]]);
        assert!(good.is_good() && good.to_string().ends_with("all promises were kept"), "{good}");
        let bad = run(&[&[], &["the end of broker 2 by itself"]]);
        assert!(!bad.is_good());
        assert!(bad.to_string().contains("round 2, full disk: not seen was the end of broker 2 by itself"), "{bad}");
    }
}
