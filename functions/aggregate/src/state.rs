//! What a batch of records does to the state, pure. A trade that its partition's life says was
//! taken before changes nothing, but the candles it belongs to are named again, because the
//! answer that carried them may have been lost.

use std::collections::{BTreeMap, BTreeSet};

use tidemill_contract::life::Point;
use tidemill_contract::market::PriceTickEvent;
use tidemill_contract::{Life, Taken};

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

/// A record and the place it was read from.
#[derive(Debug, Clone)]
pub struct Input {
    /// The trade; none where the record holds no trade, which is taken all the same.
    pub tick: Option<PriceTickEvent>,
    /// `<topic>-<partition>`.
    pub topic_partition: String,
    /// The partition's number.
    pub partition: i64,
    /// The offset, and Kafka's timestamp.
    pub point: Point,
}

/// As much of the state as a batch touches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// What was taken of each partition, by `<topic>-<partition>`.
    pub lives: BTreeMap<String, Life>,
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
    /// Partitions that began anew.
    pub anew: BTreeSet<String>,
}

impl Input {
    /// The candles that the trade belongs to.
    pub fn candles(&self) -> impl Iterator<Item = CandleKey> + '_ {
        self.tick.iter().flat_map(candles)
    }

    /// Where the trade's id is remembered, if it has one.
    pub fn seen(&self) -> Option<SeenKey> {
        let tick = self.tick.as_ref()?;
        tick.trade_id.as_ref()?;
        let minute = tick.timestamp.timestamp().div_euclid(60) * 60;
        Some((tick.symbol.clone(), tick.exchange.clone(), minute))
    }
}

fn candles(tick: &PriceTickEvent) -> impl Iterator<Item = CandleKey> + '_ {
    INTERVALS.iter().map(|interval| CandleKey {
        symbol: tick.symbol.clone(),
        exchange: tick.exchange.clone(),
        interval: interval.name,
        open: interval.open(tick.timestamp),
    })
}

impl State {
    /// Takes a batch of records. Offsets of a partition must not decrease within it.
    ///
    /// # Errors
    /// A sum overflows; the state is then not to be kept.
    pub fn apply(&mut self, inputs: &[Input]) -> Result<Outcome, Overflow> {
        let mut outcome = Outcome::default();
        for (index, input) in inputs.iter().enumerate() {
            outcome.touched.extend(input.candles());
            match self.take(input) {
                Taken::New => {}
                Taken::Before => continue,
                Taken::Anew => {
                    outcome.anew.insert(input.topic_partition.clone());
                }
            }
            let Some(tick) = &input.tick else { continue };
            let seen = input.seen().zip(tick.trade_id.as_ref());
            if seen.is_some_and(|(key, id)| !self.seen.entry(key).or_default().insert(id)) {
                outcome.duplicates.push(index);
                continue;
            }
            let place = Place::new(tick, input.partition, input.point.offset);
            self.count(tick, &place).ok_or_else(|| Overflow {
                symbol: tick.symbol.clone(),
                topic_partition: input.topic_partition.clone(),
                offset: input.point.offset,
            })?;
        }
        Ok(outcome)
    }

    fn take(&mut self, input: &Input) -> Taken {
        let mut life = self.lives.get(&input.topic_partition).copied();
        let taken = Life::take(&mut life, input.point);
        self.lives.extend(life.map(|life| (input.topic_partition.clone(), life)));
        taken
    }

    fn count(&mut self, tick: &PriceTickEvent, place: &Place) -> Option<()> {
        for key in candles(tick) {
            let of_trade = Candle::of(tick, place)?;
            let candle = match self.candles.remove(&key) {
                Some(candle) => candle.merge(of_trade)?,
                None => of_trade,
            };
            self.candles.insert(key, candle);
        }
        Some(())
    }
}
