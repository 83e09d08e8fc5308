//! Where most tests begin: a function between two topics.

use crate::{
    bed::{Bed, dead_letters},
    runner::echo,
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
        let bed = Bed::start(test).await;
        let input = bed.topic("in", partitions, &[]).await;
        let output = bed.topic("out", partitions, &[]).await;
        let config = echo(&bed, &input, Some(&output));
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { bed, input, output, config, folder }
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
