//! The fault suite: records flow through seven groups on three real brokers while one fault after
//! the other happens, chosen by a seed; unique numbers tell what was lost or repeated.
//!
//! docs/faults.md says what is done and how it is judged. It needs root, for namespaces, mounts and
//! cgroups.

pub mod brokers;
pub mod clock;
pub mod feed;
pub mod groups;
pub mod ledger;
pub mod network;
pub mod outlets;
pub mod plan;
pub mod stage;
pub mod strike;
pub mod table;
pub mod volume;

use groups::Mode;
use ledger::{Outcome, Verdict, Window};
use outlets::{Came, now};
use plan::{Fault, Schedule};
use stage::Stage;
use std::{
    collections::BTreeSet,
    fs::File,
    process::Command,
    time::{Duration, Instant},
};
use table::{Row, Table};
use tidemill_testbed::programs::run as run_program;

/// How long the groups may take until all that was acknowledged has come out.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long after that a second copy of what was under way may come: an open transaction of a
/// runner that is gone lasts 30 s at most.
const REST: Duration = Duration::from_secs(31);

/// What is run.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Which faults.
    pub faults: Vec<Fault>,
    /// For how long; `None` has each fault once, at its shortest.
    pub lasts: Option<Duration>,
    /// Records that go in each second.
    pub per_second: u64,
}

/// Runs it; answers the table.
///
/// # Panics
/// When the stage cannot be set, or what was struck does not come back.
pub async fn run(suite: &Suite) -> Table {
    println!("seed {}", suite.seed);
    let _turn = tokio::task::spawn_blocking(turn).await.expect("a lock is waited for");
    let begun = Instant::now();
    let mut stage = Stage::set(suite.per_second).await;
    println!(
        "{:4.0} s  three brokers, {} groups, {} records a second",
        begun.elapsed().as_secs_f64(),
        stage.groups.len(),
        suite.per_second
    );
    let first = stage.acknowledged();
    stage.all_out(&first, PATIENCE).await;
    let mut table = Table::new(suite.seed);
    let mut windows = Vec::new();
    let (started, brief) = (Instant::now(), suite.lasts.is_none());
    let mut schedule = Schedule::new(suite.seed, &suite.faults, brief);
    let mut rounds = 0;
    loop {
        let over = match suite.lasts {
            Some(lasts) => started.elapsed() >= lasts,
            None => rounds == suite.faults.len(),
        };
        let (false, Some(round)) = (over, schedule.next()) else { break };
        rounds += 1;
        stage.pass(round.calm).await;
        let (before, began) = (stage.acknowledged().len(), Instant::now());
        let from = now();
        let struck = strike::strike(&mut stage, &round).await;
        let to = now();
        let lasted = began.elapsed();
        let brokers = stage.brokers.clone();
        stage.beside(brokers.in_sync()).await;
        let acknowledged = stage.acknowledged();
        let on_time = stage.all_out(&acknowledged, PATIENCE).await;
        windows.push(Window { from, to, out: now() });
        let verdicts = judge(&stage.outlets.came.lock(), &acknowledged, &windows);
        let row = Row {
            fault: round.fault,
            struck,
            lasted,
            recovered: began.elapsed() - lasted,
            r#in: acknowledged.len() - before,
            verdicts,
        };
        table.add(row, started.elapsed());
        if !on_time {
            stage.groups.iter().for_each(|group| println!("{}:\n{}", group.mode.name(), group.last_words()));
        }
    }
    finish(stage, table, &windows, started).await
}

/// One run at a time on one machine: the services have ports and folders of their own, but no more than one of each.
fn turn() -> File {
    let path = tidemill_testbed::cache().expect("the cache folder is known").join("testbed/faults.lock");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the lock");
    let file = File::create(&path).expect("a file to lock");
    if file.try_lock().is_err() {
        println!("another run of the fault suite is at work on this machine: waiting until it ends");
        file.lock().expect("a lock");
    }
    file
}

/// Lets all come out, and judges once more by what the topics have.
async fn finish(mut stage: Stage, mut table: Table, windows: &[Window], started: Instant) -> Table {
    let sent = stage.feed.take().expect("records go in").stop().await;
    // What is under way is acknowledged, or is not.
    stage.pass(Duration::from_secs(5)).await;
    let acknowledged = sent.lock().acknowledged.clone();
    stage.all_out(&acknowledged, PATIENCE).await;
    stage.pass(REST).await;
    for group in &mut stage.groups {
        group.stop().await;
        table.restarts.append(&mut group.restarts);
    }
    let live = std::mem::take(&mut *stage.outlets.came.lock());
    let mut again = Came::new();
    let groups = outlets::topics(&stage.brokers.bed).into_iter().map(|(topic, of)| (topic, Some(of)));
    for (topic, of) in groups.chain([(stage.input.clone(), None)]) {
        let mut records = stage.brokers.bed.records(&topic).await;
        records.sort_by_key(|record| (record.partition, record.offset));
        for record in records {
            let value = record.value.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
            let number = value.and_then(feed::number).expect("what comes out is what went in");
            match of {
                Some(of) => again.record(of, number, record.timestamp),
                None => {
                    again.input.came_in_any_order(number, record.timestamp);
                }
            }
        }
    }
    // What is in Redis and in the bucket was read as it came.
    let read = judge(&live, &acknowledged, windows);
    let kept = |name| name == "redis" || name == "s3";
    let from_topics = judge(&again, &acknowledged, windows);
    let pairs = read.into_iter().zip(from_topics);
    table.end = pairs.map(|(live, again)| if kept(live.0) { live } else { again }).collect();
    table.acknowledged = acknowledged.len();
    table.unknown = sent.lock().unknown;
    table.twice = again.input.twice().len();
    table.clocks = live.clocks;
    table.spread = [Mode::Spanning, Mode::Partition].map(|mode| live.spread(mode));
    table.lasted = started.elapsed();
    if !table.is_good() {
        keep_logs(&stage, table.seed);
    }
    table
}

/// Where a promise was broken: what each runner has logged since the beginning.
fn keep_logs(stage: &Stage, seed: u64) {
    let folder = std::env::temp_dir().join(format!("tidemill-faults-{seed}"));
    std::fs::create_dir_all(&folder).expect("a folder for logs");
    for group in &stage.groups {
        for (number, seat) in group.seats.iter().enumerate() {
            let file = folder.join(format!("{}-{}.log", group.mode.name(), number + 1));
            std::fs::write(file, seat.log()).expect("a log can be kept");
        }
    }
    println!("what the runners have logged is kept in {}", folder.display());
}

fn judge(came: &Came, acknowledged: &BTreeSet<u64>, windows: &[Window]) -> Vec<(&'static str, Verdict)> {
    let twice = came.input.twice();
    let of = |outcome: &Outcome| outcome.judge(acknowledged, windows, &twice);
    came.outcomes.iter().map(|(mode, outcome)| (mode.name(), of(outcome))).collect()
}

/// Runs a command of single words.
///
/// # Panics
/// When it fails.
fn programs(words: &str) {
    let mut words = words.split(' ');
    let program = words.next().expect("a program");
    run_program(Command::new(program).args(words)).expect("the fault suite needs root");
}
