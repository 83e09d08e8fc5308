//! What a batch of trades does to the state, pure. A trade at or below its partition's fence
//! was counted before: it changes nothing, but the candles it belongs to are named again,
//! because the answer that carried them may have been lost.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_contract::market::PriceTickEvent;

use crate::candle::{Candle, INTERVALS, Place};
use crate::seen::Seen;

/// Names a candle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CandleKey {
    /// What is traded.
    pub symbol: String,
    /// Where it is traded.
    pub exchange: String,
    /// The candle's length.
    pub interval: &'static str,
    /// When it opens, in unix seconds.
    pub open: i64,
}

/// Names the trade ids of one minute: symbol, exchange and the minute in unix seconds.
pub type SeenKey = (String, String, i64);

/// A trade and the place it was read from.
#[derive(Debug, Clone)]
pub struct Trade {
    /// The trade.
    pub tick: PriceTickEvent,
    /// `<topic>-<partition>`.
    pub topic_partition: String,
    /// The partition's number.
    pub partition: i64,
    /// The offset.
    pub offset: i64,
}

/// As much of the state as a batch touches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The last offset counted of each partition, by `<topic>-<partition>`.
    pub fences: BTreeMap<String, i64>,
    /// The candles.
    pub candles: BTreeMap<CandleKey, Candle>,
    /// The trade ids counted.
    pub seen: BTreeMap<SeenKey, Seen>,
}

/// A sum is beyond what a decimal holds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sums of {symbol} at {offset} of {topic_partition} exceed 28 digits")]
pub struct Overflow {
    symbol: String,
    topic_partition: String,
    offset: i64,
}

/// What a batch did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Candles whose current value is to be told.
    pub touched: BTreeSet<CandleKey>,
    /// Indices of trades whose id had been counted before.
    pub duplicates: Vec<usize>,
}

impl Trade {
    /// The candles the trade belongs to.
    pub fn candles(&self) -> impl Iterator<Item = CandleKey> + '_ {
        INTERVALS.iter().map(|interval| CandleKey {
            symbol: self.tick.symbol.clone(),
            exchange: self.tick.exchange.clone(),
            interval: interval.name,
            open: interval.open(self.tick.timestamp),
        })
    }

    /// Where the trade's id is remembered, if it has one.
    pub fn seen(&self) -> Option<SeenKey> {
        self.tick.trade_id.as_ref()?;
        let minute = self.tick.timestamp.timestamp().div_euclid(60) * 60;
        Some((self.tick.symbol.clone(), self.tick.exchange.clone(), minute))
    }
}

impl State {
    /// Counts a batch of trades. Offsets of a partition must not decrease within it.
    ///
    /// # Errors
    /// A sum overflows; the state is then not to be kept.
    pub fn apply(&mut self, trades: &[Trade]) -> Result<Outcome, Overflow> {
        let before = self.fences.clone();
        let mut outcome = Outcome::default();
        for (index, trade) in trades.iter().enumerate() {
            outcome.touched.extend(trade.candles());
            if before.get(&trade.topic_partition).is_some_and(|fence| trade.offset <= *fence) {
                continue;
            }
            self.advance(&trade.topic_partition, trade.offset);
            let seen = trade.seen().zip(trade.tick.trade_id.as_ref());
            if seen.is_some_and(|(key, id)| !self.seen.entry(key).or_default().insert(id)) {
                outcome.duplicates.push(index);
                continue;
            }
            self.count(trade).ok_or_else(|| Overflow {
                symbol: trade.tick.symbol.clone(),
                topic_partition: trade.topic_partition.clone(),
                offset: trade.offset,
            })?;
        }
        Ok(outcome)
    }

    /// Moves a partition's fence up to `offset`.
    pub fn advance(&mut self, topic_partition: &str, offset: i64) {
        let fence = self.fences.entry(topic_partition.to_owned()).or_insert(offset);
        *fence = offset.max(*fence);
    }

    fn count(&mut self, trade: &Trade) -> Option<()> {
        let place = Place::new(&trade.tick, trade.partition, trade.offset);
        for key in trade.candles() {
            let of_trade = Candle::of(&trade.tick, &place)?;
            let candle = match self.candles.remove(&key) {
                Some(candle) => candle.merge(of_trade)?,
                None => of_trade,
            };
            self.candles.insert(key, candle);
        }
        Some(())
    }
}
