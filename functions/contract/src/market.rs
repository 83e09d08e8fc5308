//! Market data events: trades and candles. Decimals are exact and travel as strings; a value
//! of these types has passed its checks (positive prices, ordered candles are the writer's).

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::answer::Failure;

/// One trade; the record's key is `symbol`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceTickEvent {
    /// What was traded: `BTCUSDT`.
    pub symbol: String,
    /// The price of one unit.
    #[serde(with = "rust_decimal::serde::str")]
    pub price: Decimal,
    /// Units traded.
    #[serde(with = "rust_decimal::serde::str")]
    pub quantity: Decimal,
    /// When it was traded: event time.
    pub timestamp: DateTime<Utc>,
    /// Where it was traded.
    pub exchange: String,
    /// The exchange's number for the trade, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_id: Option<TradeId>,
}

/// An exchange's number for a trade.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TradeId {
    /// Counted.
    Number(u64),
    /// Any other text.
    Text(String),
}

/// Larger amounts could overflow a sum of millions of them.
const LARGEST: Decimal = Decimal::from_parts(0xb240_0000, 0x19e0_c9ba, 0x21e, false, 0);

/// How far a clock elsewhere may be ahead of this one.
pub const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Refuses a time that no clock can show yet: kept as the latest, it would hide all that follows.
fn not_ahead(field: &str, time: DateTime<Utc>) -> Result<(), Failure> {
    if time <= Utc::now() + AHEAD {
        return Ok(());
    }
    Err(Failure::new("MalformedEvent", format!("{field} must not be ahead of the clock: {time}")))
}

impl PriceTickEvent {
    /// Refuses what no trade can have.
    ///
    /// # Errors
    /// Names the field and what it must be.
    pub fn check(self) -> Result<Self, Failure> {
        let wrong = |message: &str| Err(Failure::new("MalformedEvent", message));
        if self.symbol.trim().is_empty() {
            return wrong("symbol must not be empty");
        }
        if self.exchange.trim().is_empty() {
            return wrong("exchange must not be empty");
        }
        if self.price <= Decimal::ZERO {
            return wrong("price must be above zero");
        }
        if self.quantity <= Decimal::ZERO {
            return wrong("quantity must be above zero");
        }
        let value = self.price.checked_mul(self.quantity);
        if value.is_none_or(|value| value > LARGEST || self.price > LARGEST || self.quantity > LARGEST) {
            return wrong("price, quantity and their product must be at most 10^22");
        }
        not_ahead("timestamp", self.timestamp)?;
        Ok(self)
    }
}

/// A candle as it stands; a later one for the same symbol, exchange, interval and time
/// replaces it. The record's key is `symbol`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandleEvent {
    /// What was traded.
    pub symbol: String,
    /// Where it was traded.
    pub exchange: String,
    /// The candle's length: `1m`, `5m`, ….
    pub interval: String,
    /// When the candle opens.
    pub time: DateTime<Utc>,
    /// Price of the first trade by event time.
    #[serde(with = "rust_decimal::serde::str")]
    pub open: Decimal,
    /// Highest price.
    #[serde(with = "rust_decimal::serde::str")]
    pub high: Decimal,
    /// Lowest price.
    #[serde(with = "rust_decimal::serde::str")]
    pub low: Decimal,
    /// Price of the last trade by event time.
    #[serde(with = "rust_decimal::serde::str")]
    pub close: Decimal,
    /// Units traded.
    #[serde(with = "rust_decimal::serde::str")]
    pub volume: Decimal,
    /// Mean price weighted by units.
    #[serde(with = "rust_decimal::serde::str")]
    pub vwap: Decimal,
    /// Number of trades.
    pub trade_count: u64,
}

impl CandleEvent {
    /// Refuses what no candle can have.
    ///
    /// # Errors
    /// Names the field and what it must be.
    pub fn check(self) -> Result<Self, Failure> {
        for (field, text) in [("symbol", &self.symbol), ("exchange", &self.exchange), ("interval", &self.interval)] {
            if text.trim().is_empty() {
                return Err(Failure::new("MalformedEvent", format!("{field} must not be empty")));
            }
        }
        not_ahead("time", self.time)?;
        Ok(self)
    }
}
