//! What the programs that share the machine take of it.

use tidemill_e2e::{process, runner::Runner};

/// A runner, its functions and the broker, since they were looked for.
pub struct Programs {
    all: [(&'static str, Vec<i32>); 3],
    before: Vec<f64>,
}

impl Programs {
    pub fn of(runner: &Runner) -> Self {
        let pids = |processes: Vec<process::Process>| processes.iter().map(|process| process.pid).collect();
        let functions = pids(process::descendants(runner.pid()));
        let broker = pids(process::naming(&["kafka.Kafka"]));
        let all = [("runner", vec![runner.pid()]), ("function", functions), ("broker", broker)];
        Self { before: all.iter().map(|(_, pids)| cpu_seconds(pids)).collect(), all }
    }

    /// CPU seconds of each for a million of so many records.
    pub fn took(&self, records: f64) -> String {
        let one =
            |(name, pids): &(_, Vec<_>), before| format!("{name} {:.2}", (cpu_seconds(pids) - before) / records * 1e6);
        self.all.iter().zip(&self.before).map(|(program, before)| one(program, before)).collect::<Vec<_>>().join(", ")
    }

    /// The most memory that ours have had.
    pub fn memory(&self) -> String {
        let peak = |pids: &[i32]| pids.iter().map(|pid| process::memory(*pid, "VmHWM")).sum::<u64>();
        let ours = self.all.iter().take(2).map(|(name, pids)| format!("{name} {} MiB", peak(pids)));
        ours.collect::<Vec<_>>().join(", ")
    }
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn cpu_seconds(pids: &[i32]) -> f64 {
    pids.iter().map(|pid| process::cpu_seconds(*pid)).sum()
}
