//! The trade ids seen in one minute of a symbol's event time, pure. Exchanges count trades, so
//! runs of ids are kept as ranges. Memory is bounded: beyond a cap the lowest are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidemill_contract::market::TradeId;

/// Most ranges, and most ids that are not numbers, that one minute remembers.
const CAP: usize = 8192;

/// A set of trade ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// First → last, both included; ranges neither overlap nor touch.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ranges: BTreeMap<u64, u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    texts: BTreeSet<String>,
}

impl Seen {
    /// Adds an id; says whether it is new.
    pub fn insert(&mut self, id: &TradeId) -> bool {
        match id {
            TradeId::Number(number) => self.insert_number(*number),
            TradeId::Text(text) => {
                let new = self.texts.insert(text.clone());
                if self.texts.len() > CAP {
                    self.texts.pop_first();
                }
                new
            }
        }
    }

    fn insert_number(&mut self, id: u64) -> bool {
        let before = self.ranges.range(..=id).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| id <= last) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last.checked_add(1) == Some(id) => first,
            _ => id,
        };
        let last = id.checked_add(1).and_then(|next| self.ranges.remove(&next)).unwrap_or(id);
        self.ranges.insert(first, last);
        if self.ranges.len() > CAP {
            self.ranges.pop_first();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(ids in prop::collection::vec(prop_oneof![0..40_u64, Just(u64::MAX)], 0..120)) {
            let (mut seen, mut set) = (Seen::default(), BTreeSet::new());
            for id in ids {
                prop_assert_eq!(seen.insert(&TradeId::Number(id)), set.insert(id));
                let json = serde_json::to_string(&seen).expect("JSON");
                prop_assert_eq!(&serde_json::from_str::<Seen>(&json).expect("JSON"), &seen);
            }
        }
    }

    #[test]
    fn runs_are_one_range_and_gaps_are_bounded() {
        let mut seen = Seen::default();
        (0..10_000).for_each(|id| assert!(seen.insert(&TradeId::Number(id))));
        assert_eq!(seen.ranges.len(), 1);
        (0..CAP as u64 * 2).for_each(|id| assert!(seen.insert(&TradeId::Number(20_000 + 2 * id))));
        assert_eq!(seen.ranges.len(), CAP);
        assert!(seen.insert(&TradeId::Text("a".into())) && !seen.insert(&TradeId::Text("a".into())));
    }
}
