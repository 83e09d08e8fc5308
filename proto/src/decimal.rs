//! Decimals to and from their message: exactly, with the digits after the point that were written.

use crate::common;
use rust_decimal::Decimal;

/// A message that is no decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDecimal {
    /// Its text is no number, or has more digits than can be counted with.
    #[error("`{value}` is no decimal number of at most 28 digits")]
    Value {
        /// The text.
        value: String,
    },
    /// Text and scale disagree.
    #[error("`{value}` has {digits} digits after the point, and its scale is {scale}")]
    Scale {
        /// The text.
        value: String,
        /// Digits after its point.
        digits: u32,
        /// What the message says.
        scale: i32,
    },
}

impl From<Decimal> for common::Decimal {
    fn from(decimal: Decimal) -> Self {
        // At most 28.
        Self { value: decimal.to_string(), scale: decimal.scale().cast_signed() }
    }
}

impl TryFrom<&common::Decimal> for Decimal {
    type Error = NoDecimal;

    fn try_from(message: &common::Decimal) -> Result<Self, NoDecimal> {
        let common::Decimal { value, scale } = message;
        let decimal = Self::from_str_exact(value).map_err(|_no_number| NoDecimal::Value { value: value.clone() })?;
        match decimal.scale() {
            digits if digits.cast_signed() == *scale => Ok(decimal),
            digits => Err(NoDecimal::Scale { value: value.clone(), digits, scale: *scale }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::common;
    use proptest::prelude::{any, proptest};
    use prost::Message;
    use rust_decimal::Decimal;

    fn read(value: &str, scale: i32) -> Result<Decimal, String> {
        let message = common::Decimal { value: value.to_owned(), scale };
        Decimal::try_from(&message).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_scale_must_agree() {
        assert_eq!(read("-12.50", 2), Ok(Decimal::new(-1250, 2)));
        assert_eq!(read("7", 0), Ok(Decimal::from(7)));
        assert_eq!(read("12.5", 2), Err("`12.5` has 1 digits after the point, and its scale is 2".to_owned()));
        for none in ["", "1e3", "twelve", "0.00000000000000000000000000001"] {
            assert_eq!(read(none, 0), Err(format!("`{none}` is no decimal number of at most 28 digits")));
        }
    }

    proptest! {
        #[test]
        fn a_decimal_comes_back_as_it_was(mantissa in any::<i64>(), scale in 0_u32..=28) {
            let decimal = Decimal::new(mantissa, scale);
            let bytes = common::Decimal::from(decimal).encode_to_vec();
            let back = Decimal::try_from(&common::Decimal::decode(bytes.as_slice()).expect("a message"));
            assert_eq!(back.map(|back| (back, back.scale())), Ok((decimal, scale)));
        }
    }
}
