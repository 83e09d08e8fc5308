//! The Protobuf messages of the market's topics, as `proto/*.proto` declare them.
//!
//! What is in `generated` is written by `cargo run --release -p xtask -- proto`. A released schema
//! changes only so that a reader of the new one can read what was written with the old one:
//! `tests/registry.rs` asks a schema registry.

mod decimal;

pub use decimal::NoDecimal;

/// Messages that the others share.
#[expect(missing_docs, reason = "generated")]
pub mod common {
    include!("generated/tidemill.common.rs");
}

/// What exchanges say.
#[expect(missing_docs, reason = "generated")]
pub mod market {
    include!("generated/tidemill.market.rs");
}

/// What strategies want and how they did.
#[expect(missing_docs, reason = "generated")]
pub mod strategy {
    include!("generated/tidemill.strategy.rs");
}

/// Orders.
#[expect(missing_docs, reason = "generated")]
pub mod trading {
    include!("generated/tidemill.trading.rs");
}
