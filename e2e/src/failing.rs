//! Records that a function fails on, each in its own way, and the dead letters that come of them.

use crate::letter::reason;
use std::fmt::{Debug, Display};
use tidemill_runner::record::Record;

/// The first of the numbered records that fails.
const FIRST: usize = 500;

/// A way to fail: the word that makes it so, `error-type`, and a part of `error-message`.
pub type Failing = (&'static str, &'static str, &'static str);

/// Puts each word into a numbered record, from the 500th on. There are at most as many words as
/// partitions: each is alone in its own, so that each failure is met by innocent neighbours.
pub fn plant(records: &mut [Record], words: impl IntoIterator<Item = impl Display>) {
    for (number, word) in (FIRST..).zip(words) {
        records[number].value = Some(format!("{number:07} {word}").into());
    }
}

/// That there is one letter for each of these, in their order, and that it says so.
///
/// # Panics
/// When it is otherwise; `whose` function it was is told.
pub fn check(letters: &[Record], expected: &[Failing], whose: impl Debug) {
    assert_eq!(letters.len(), expected.len(), "{whose:?}: {letters:?}");
    for (letter, (word, kind, part)) in letters.iter().zip(expected) {
        let (said, message) = reason(letter);
        assert!(said == *kind && message.contains(part), "{whose:?}: {word}: {said}: {message}");
    }
}
