//! Numbers by their value: 1 is 1.0, and an integer of 64 bits keeps every digit.

use std::cmp::Ordering;

/// A JSON number. What has a fraction or more than 64 bits is a double, as `serde_json` reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i128),
    Double(f64),
}

/// Between which numbers one must lie.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    pub low: Option<Bound>,
    pub high: Option<Bound>,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub at: Number,
    /// Whether the limit itself is inside.
    pub inclusive: bool,
}

impl Number {
    pub fn of(number: &serde_json::Number) -> Option<Self> {
        let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        integer.map(Self::Integer).or_else(|| number.as_f64().map(Self::Double))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Integer(one), Self::Integer(other)) => Some(one.cmp(&other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(&other),
            (Self::Integer(one), Self::Double(other)) => compare(one, other),
            (Self::Double(one), Self::Integer(other)) => compare(other, one).map(Ordering::reverse),
        }
    }
}

/// Exactly: the integer with the double's integer part, then with its fraction.
fn compare(integer: i128, double: f64) -> Option<Ordering> {
    let fraction = 0.0_f64.partial_cmp(&double.fract());
    // A double outside of 128 bits becomes the nearest integer of them, which has more than 64.
    let whole = integer.cmp(&(double.trunc() as i128));
    if double.is_nan() {
        None
    } else if whole.is_ne() {
        Some(whole)
    } else {
        fraction
    }
}

impl Bounds {
    pub fn exactly(number: Number) -> Self {
        let bound = Some(Bound { at: number, inclusive: true });
        Self { low: bound, high: bound }
    }

    pub fn hold(&self, number: Number) -> bool {
        let inside = |bound: Option<Bound>, side: Ordering| {
            bound.is_none_or(|bound| match number.partial_cmp(&bound.at) {
                Some(Ordering::Equal) => bound.inclusive,
                found => found == Some(side),
            })
        };
        inside(self.low, Ordering::Greater) && inside(self.high, Ordering::Less)
    }

    /// Whether no number lies between them.
    pub fn are_empty(&self) -> bool {
        let (Some(low), Some(high)) = (self.low, self.high) else { return false };
        match low.at.partial_cmp(&high.at) {
            Some(Ordering::Less) => false,
            Some(Ordering::Equal) => !(low.inclusive && high.inclusive),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Bounds, Number};
    use proptest::prelude::*;
    use std::cmp::Ordering;

    fn number(json: &str) -> Number {
        Number::of(&serde_json::from_str(json).expect(json)).expect(json)
    }

    #[test]
    fn values_not_spellings_are_compared() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expected) in [
            ("1", "1.0", Equal),
            ("100", "1e2", Equal),
            ("-0", "0", Equal),
            ("-0.0", "0", Equal),
            ("0", "-0.5", Greater),
            ("0", "0.5", Less),
            ("-1", "-1.5", Greater),
            ("9007199254740993", "9007199254740992", Greater),
            ("9007199254740993", "9007199254740992.0", Greater),
            ("18446744073709551615", "18446744073709551614", Greater),
            ("18446744073709551615", "1e300", Less),
            ("-9223372036854775808", "-1e300", Greater),
            ("0.1", "0.2", Less),
        ] {
            assert_eq!(number(one).partial_cmp(&number(other)), Some(expected), "{one} {other}");
            assert_eq!(number(other).partial_cmp(&number(one)), Some(expected.reverse()), "{other} {one}");
        }
    }

    proptest! {
        #[test]
        fn bounds_hold_what_lies_between(low in -50_i64..50, high in -50_i64..50, found in -60_i64..60, half: bool, inclusive: [bool; 2]) {
            let bound = |at: i64, inclusive| Some(Bound { at: Number::Integer(at.into()), inclusive });
            let bounds = Bounds { low: bound(low, inclusive[0]), high: bound(high, inclusive[1]) };
            // Halves and wholes, both exact as doubles: the oracle counts in halves.
            let doubled = found * 2 + i64::from(half);
            let above = doubled > low * 2 || (inclusive[0] && doubled == low * 2);
            let below = doubled < high * 2 || (inclusive[1] && doubled == high * 2);
            prop_assert_eq!(bounds.hold(Number::Double(doubled as f64 / 2.0)), above && below);
            if !half {
                prop_assert_eq!(bounds.hold(Number::Integer(found.into())), above && below);
            }
            prop_assert!(!(bounds.are_empty() && above && below));
        }

        #[test]
        fn an_integer_and_its_double_are_equal_where_it_has_one(integer: i64) {
            let double = integer as f64;
            let exact = double as i128 == i128::from(integer);
            let found = Number::Integer(integer.into()).partial_cmp(&Number::Double(double));
            prop_assert_eq!(found == Some(Ordering::Equal), exact);
        }
    }
}
