//! How many records one invocation gets: by count and bytes; the window is the reader's clock.
//!
//! A record that would burst the batch is handed back and opens the next one.

use crate::record::Record;
use tidemill_api::Batch as Limits;

/// Records of one partition, in order, for one invocation.
#[derive(Debug, Default)]
pub struct Batch {
    records: Vec<Record>,
    bytes: u64,
}

impl Batch {
    /// Takes the record, or hands it back where the batch has no room for it.
    ///
    /// A batch takes its first record whatever its size: what is too large for any batch is for
    /// the failure destination to have, not for the reader to wait on.
    pub fn push(&mut self, record: Record, limits: &Limits) -> Option<Record> {
        let size = record.size();
        if !self.records.is_empty() && (self.is_full(limits) || self.bytes + size > limits.max_bytes.get()) {
            return Some(record);
        }
        self.bytes += size;
        self.records.push(record);
        None
    }

    /// Whether nothing more fits.
    #[must_use]
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.records.len() >= limits.max_records as usize || self.bytes >= limits.max_bytes.get()
    }

    /// The records.
    #[must_use]
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::Batch;
    use crate::record::Record;
    use proptest::prelude::*;
    use tidemill_api::{Batch as Limits, Duration};

    fn limits(max_records: u32, max_bytes: u64) -> Limits {
        let max_bytes = max_bytes.to_string().parse().expect("a size");
        Limits { max_records, window: Duration::from_secs(0), max_bytes }
    }

    fn split(sizes: &[usize], limits: &Limits) -> Vec<Vec<usize>> {
        let mut batches = Vec::new();
        let mut batch = Batch::default();
        for size in sizes {
            let record = Record { value: Some(vec![0; *size]), ..Record::default() };
            if let Some(record) = batch.push(record, limits) {
                batches.push(std::mem::take(&mut batch));
                assert!(batch.push(record, limits).is_none(), "an empty batch takes any record");
            }
        }
        batches.push(batch);
        let lengths = |batch: Batch| batch.into_records().iter().map(|record| record.size() as usize).collect();
        batches.into_iter().map(lengths).collect()
    }

    #[test]
    fn limits_hold() {
        let cases = [
            (vec![1, 1, 1, 1, 1], 2, 100, vec![vec![1, 1], vec![1, 1], vec![1]]),
            (vec![60, 60, 10], 10, 100, vec![vec![60], vec![60, 10]]),
            (vec![500, 1], 10, 100, vec![vec![500], vec![1]]),
            (vec![50, 50, 1], 10, 100, vec![vec![50, 50], vec![1]]),
        ];
        for (sizes, count, bytes, expected) in cases {
            assert_eq!(split(&sizes, &limits(count, bytes)), expected, "{sizes:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_reordered(sizes in prop::collection::vec(0_usize..300, 1..60), count in 1_u32..10, bytes in 1_u64..500) {
            let batches = split(&sizes, &limits(count, bytes));
            for batch in &batches {
                prop_assert!(batch.len() <= count as usize);
                prop_assert!(batch.len() <= 1 || batch.iter().sum::<usize>() as u64 <= bytes);
            }
            prop_assert_eq!(batches.concat(), sizes);
        }
    }
}
