//! Where most tests begin: a function between two topics.

use crate::{
    bed::{Bed, dead_letters},
    runner::{Runner, echo},
    tally::Tally,
};
use tempfile::TempDir;
use tidemill_runner::{config::Config, record::Record};

/// Two topics, and what a runner between them is told.
#[derive(Debug)]
pub struct Scene {
    /// Where the topics are.
    pub bed: Bed,
    /// The topic that the function works on, in a group of the same name.
    pub input: String,
    /// The topic that it writes to.
    pub output: String,
    /// What the runner is told: `echo`, until the test says otherwise.
    pub config: Config,
    /// A place for the function's files.
    pub folder: TempDir,
}

impl Scene {
    /// Makes the topics.
    ///
    /// # Panics
    /// When the broker refuses one.
    pub async fn set(test: &str, partitions: i32) -> Self {
        Self::on(Bed::start(test).await, partitions).await
    }

    /// The same on a Kafka that runs.
    ///
    /// # Panics
    /// When the broker refuses a topic.
    pub async fn on(bed: Bed, partitions: i32) -> Self {
        let input = bed.topic("in", partitions, &[]).await;
        let output = bed.topic("out", partitions, &[]).await;
        let config = echo(&bed, &input, Some(&output));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { bed, input, output, config, folder }
    }

    /// Fills the input, and has the function take its time for each batch, so that there is a middle.
    ///
    /// # Panics
    /// When the broker refuses a record.
    pub async fn fill(&mut self, records: &[Record], sleep_ms: &str) {
        self.bed.produce(&self.input, records).await;
        self.config.environment.insert("SLEEP_MS".to_owned(), sleep_ms.to_owned());
    }

    /// A runner that has done so much of the work.
    ///
    /// # Panics
    /// When it has not in time.
    pub async fn in_the_middle(&self, done: u64) -> Runner {
        let mut runner = Runner::start(&self.config);
        runner.report("some of the work", |report| report.totals.r#in >= done).await;
        runner
    }

    /// # Panics
    /// When all is done: then what was to happen in the middle did not.
    pub async fn is_half_done(&self) {
        let lag = self.bed.lag(&self.input, &self.input).await;
        assert!(lag > 0, "it happened in the middle: {lag} records are left");
    }

    /// What has come out once all is committed.
    ///
    /// # Panics
    /// When it is not committed in time.
    pub async fn outputs(&self) -> Vec<Record> {
        self.bed.drained(&self.input, &self.input).await;
        self.bed.records(&self.output).await
    }

    /// Which of so many numbered records that is.
    ///
    /// # Panics
    /// When it is not committed in time.
    pub async fn tally(&self, records: usize) -> Tally {
        Tally::of(&self.outputs().await, records)
    }

    /// The same, where none of them may have failed for good.
    ///
    /// # Panics
    /// When one has, or it is not committed in time.
    pub async fn tally_of_good(&self, records: usize) -> Tally {
        let tally = self.tally(records).await;
        assert_eq!(self.letters().await, [], "nothing failed for good");
        tally
    }

    /// The dead letters so far, by their values.
    ///
    /// # Panics
    /// When the broker does not give them.
    pub async fn letters(&self) -> Vec<Record> {
        let mut letters = self.bed.records(&dead_letters(&self.input)).await;
        letters.sort_by(|a, b| a.value.cmp(&b.value));
        letters
    }
}
