//! One candle, pure. Its value depends on the set of trades it has taken, not on their order:
//! first and last are decided by event time, then by trade id, then by place in the topic.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tidemill_contract::market::{CandleEvent, PriceTickEvent, TradeId};

/// A length of candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// As people and channels name it.
    pub name: &'static str,
    /// Its length.
    pub seconds: i64,
}

/// The lengths of candles that are kept.
pub const INTERVALS: &[Interval] = &[Interval { name: "1m", seconds: 60 }, Interval { name: "5m", seconds: 300 }];

/// Digits of a VWAP: as many as two exact decimals of market data can give it meaning.
const VWAP_DIGITS: u32 = 18;

impl Interval {
    /// When the candle that a trade at `time` belongs to opens, in unix seconds.
    pub fn open(&self, time: DateTime<Utc>) -> i64 {
        time.timestamp().div_euclid(self.seconds) * self.seconds
    }
}

/// A trade's place among trades: event time first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    time: DateTime<Utc>,
    id: Option<TradeId>,
    partition: i64,
    offset: i64,
}

/// What a candle knows of the trades it has taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candle {
    first: (Place, Decimal),
    last: (Place, Decimal),
    high: Decimal,
    low: Decimal,
    volume: Decimal,
    /// Sum of price times quantity.
    value: Decimal,
    trades: u64,
}

impl Place {
    /// The place of a trade read at an offset of a partition.
    pub fn new(tick: &PriceTickEvent, partition: i64, offset: i64) -> Self {
        Self { time: tick.timestamp, id: tick.trade_id.clone(), partition, offset }
    }
}

impl Candle {
    /// The candle of one trade.
    pub fn of(tick: &PriceTickEvent, place: &Place) -> Option<Self> {
        let trade = (place.clone(), tick.price);
        Some(Self {
            first: trade.clone(),
            last: trade,
            high: tick.price,
            low: tick.price,
            volume: tick.quantity,
            value: tick.price.checked_mul(tick.quantity)?,
            trades: 1,
        })
    }

    /// The candle with the trades of another added; nothing if a sum is beyond what a decimal
    /// holds.
    pub fn merge(mut self, other: Self) -> Option<Self> {
        if other.first.0 < self.first.0 {
            self.first = other.first;
        }
        if other.last.0 > self.last.0 {
            self.last = other.last;
        }
        Some(Self {
            high: self.high.max(other.high),
            low: self.low.min(other.low),
            volume: self.volume.checked_add(other.volume)?,
            value: self.value.checked_add(other.value)?,
            trades: self.trades.checked_add(other.trades)?,
            ..self
        })
    }

    /// The candle as others see it, decimals without trailing zeros.
    pub fn event(&self, symbol: &str, exchange: &str, interval: &str, open: i64) -> CandleEvent {
        let vwap = self.value.checked_div(self.volume).unwrap_or(self.last.1);
        CandleEvent {
            symbol: symbol.to_owned(),
            exchange: exchange.to_owned(),
            interval: interval.to_owned(),
            time: DateTime::from_timestamp(open, 0).unwrap_or(self.first.0.time),
            open: self.first.1.normalize(),
            high: self.high.normalize(),
            low: self.low.normalize(),
            close: self.last.1.normalize(),
            volume: self.volume.normalize(),
            vwap: vwap.round_sf(VWAP_DIGITS).unwrap_or(vwap).normalize(),
            trade_count: self.trades,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candle(trades: &[(&str, &str, &str, u64)]) -> CandleEvent {
        let candles = trades.iter().map(|(time, price, quantity, id)| {
            let tick = PriceTickEvent {
                symbol: "BTCUSDT".into(),
                price: price.parse().expect("a decimal"),
                quantity: quantity.parse().expect("a decimal"),
                timestamp: time.parse().expect("a time"),
                exchange: "x".into(),
                trade_id: Some(TradeId::Number(*id)),
            };
            Candle::of(&tick, &Place::new(&tick, 0, 0)).expect("small numbers")
        });
        let all = candles.reduce(|a, b| a.merge(b).expect("small numbers")).expect("a trade");
        all.event("BTCUSDT", "x", "1m", 1_767_225_600)
    }

    #[test]
    fn late_trades_revise_the_open_and_decimals_stay_exact() {
        let event = candle(&[
            ("2026-01-01T00:00:20Z", "0.3", "0.10", 3),
            ("2026-01-01T00:00:59.999Z", "0.20", "0.2", 9),
            ("2026-01-01T00:00:10Z", "0.1", "0.1", 1),
            ("2026-01-01T00:00:10Z", "0.15", "0.1", 2),
        ]);
        let text = |value: Decimal| value.to_string();
        assert_eq!((text(event.open), text(event.close)), ("0.1".into(), "0.2".into()));
        assert_eq!((text(event.high), text(event.low)), ("0.3".into(), "0.1".into()));
        assert_eq!((text(event.volume), text(event.vwap)), ("0.5".into(), "0.19".into()));
        assert_eq!(event.trade_count, 4);
        assert_eq!(event.time.to_rfc3339(), "2026-01-01T00:00:00+00:00");
    }

    #[test]
    fn candles_open_on_the_multiples_of_their_length() {
        let at = |time: &str| time.parse().expect("a time");
        let [minute, five] = INTERVALS else { panic!("two intervals") };
        assert_eq!(minute.open(at("1970-01-01T00:01:59.999Z")), 60);
        assert_eq!(five.open(at("1970-01-01T00:05:00Z")), 300);
        assert_eq!(minute.open(at("1969-12-31T23:59:59Z")), -60);
    }
}
