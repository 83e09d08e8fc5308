//! Which numbered records came out, and how often.

use std::fmt;
use tidemill_runner::record::Record;

/// The number of a numbered record.
///
/// # Panics
/// When its value begins with none: then it was never sent.
#[must_use]
pub fn number(record: &Record) -> usize {
    let value = record.value.as_deref().expect("numbered records have a value");
    let digits = value.get(..7).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).expect("the value begins with a number")
}

/// A count of the numbers in records' values.
#[derive(Debug, PartialEq, Eq)]
pub struct Tally {
    /// Numbers that did not come out.
    pub lost: usize,
    /// Numbers that came out more than once.
    pub repeated: usize,
    /// Records that came out.
    pub records: usize,
}

impl Tally {
    /// Counts the numbers `0..expected` at the beginning of the values.
    ///
    /// # Panics
    /// When a value begins with no such number: then it was never sent.
    #[must_use]
    pub fn of(records: &[Record], expected: usize) -> Self {
        let mut seen = vec![0_u32; expected];
        records.iter().for_each(|record| seen[number(record)] += 1);
        let count = |matches: fn(u32) -> bool| seen.iter().filter(|times| matches(**times)).count();
        Self { lost: count(|times| times == 0), repeated: count(|times| times > 1), records: records.len() }
    }

    /// # Panics
    /// When a record is missing.
    pub fn none_lost(&self) {
        assert_eq!(self.lost, 0, "{self}");
    }

    /// # Panics
    /// When a record is missing or there twice.
    pub fn exactly_once(&self) {
        assert_eq!((self.lost, self.repeated), (0, 0), "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records came out: {} lost, {} more than once", self.records, self.lost, self.repeated)
    }
}
