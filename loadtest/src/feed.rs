//! A made-up but believable feed of trades, pure: the same seed and times give the same feed.
//! Prices walk at random with volatility that comes in clusters; a few trades are delivered
//! twice and a few slightly late, as real feeds do.

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;
use tidemill_contract::market::{PriceTickEvent, TradeId};

/// The name of the exchange that all trades carry.
pub const EXCHANGE: &str = "demo";
/// One delivery in so many repeats the one before.
const DUPLICATE_EVERY: u32 = 200;
/// One trade in so many is delivered late.
const LATE_EVERY: u32 = 100;
/// How many deliveries a late trade is held back, at most.
const LONGEST_HOLD: u32 = 5;

struct Market {
    symbol: &'static str,
    /// Share of trades, relative to the others.
    weight: u32,
    start: f64,
    /// Decimal places of a price.
    price_scale: u32,
    /// Decimal places of a quantity.
    quantity_scale: u32,
    /// Mean value of a trade, in units of the quote currency, roughly.
    value: f64,
}

const MARKETS: &[Market] = &[
    Market { symbol: "BTCUSDT", weight: 8, start: 97_250.0, price_scale: 2, quantity_scale: 5, value: 900.0 },
    Market { symbol: "ETHUSDT", weight: 6, start: 3_480.0, price_scale: 2, quantity_scale: 4, value: 600.0 },
    Market { symbol: "SOLUSDT", weight: 4, start: 187.0, price_scale: 2, quantity_scale: 3, value: 300.0 },
    Market { symbol: "XRPUSDT", weight: 3, start: 2.31, price_scale: 4, quantity_scale: 0, value: 250.0 },
    Market { symbol: "ADAUSDT", weight: 2, start: 0.87, price_scale: 4, quantity_scale: 1, value: 150.0 },
];

/// The symbols of the feed.
pub fn symbols() -> impl Iterator<Item = &'static str> {
    MARKETS.iter().map(|market| market.symbol)
}

/// Share of variance that stays, comes from the last return, and comes back by itself.
const PERSISTENCE: f64 = 0.94;
const REACTION: f64 = 0.05;
const CALM: f64 = 1.0 - PERSISTENCE - REACTION;
/// Standard deviation of a calm trade's return.
const CALM_DEVIATION: f64 = 0.000_12;
/// Bounds of the standard deviation, so that no feed, however long, runs away.
const DEVIATIONS: (f64, f64) = (0.000_02, 0.002);
/// How strongly a price is drawn back to its start.
const PULL: f64 = 0.000_01;
/// Spread of trade sizes: the standard deviation of their logarithm.
const SIZE_DEVIATION: f64 = 1.3;

struct Walk {
    log_price: f64,
    variance: f64,
    next_id: u64,
}

/// A feed of trades of all symbols.
pub struct Feed {
    random: StdRng,
    walks: Vec<Walk>,
    last: Option<PriceTickEvent>,
    late: Option<(u32, PriceTickEvent)>,
}

impl Feed {
    /// The feed of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let walks = MARKETS
            .iter()
            .map(|market| Walk {
                log_price: market.start.ln(),
                variance: CALM_DEVIATION.powi(2),
                next_id: random.random_range(1_000_000..9_000_000),
            })
            .collect();
        Self { random, walks, last: None, late: None }
    }

    /// What is delivered at `now`: a new trade, or one delivered late or again.
    pub fn deliver(&mut self, now: DateTime<Utc>) -> PriceTickEvent {
        let tick = match (self.late.take(), self.last.take()) {
            (Some((0, late)), _) => late,
            (held, Some(last)) if self.one_in(DUPLICATE_EVERY) => {
                self.late = held;
                last
            }
            (Some((holds, late)), _) => {
                self.late = Some((holds - 1, late));
                self.trade(now)
            }
            (None, _) => {
                let tick = self.trade(now);
                if self.one_in(LATE_EVERY) {
                    self.late = Some((self.random.random_range(0..LONGEST_HOLD), tick));
                    self.trade(now)
                } else {
                    tick
                }
            }
        };
        self.last = Some(tick.clone());
        tick
    }

    fn trade(&mut self, now: DateTime<Utc>) -> PriceTickEvent {
        let total: u32 = MARKETS.iter().map(|market| market.weight).sum();
        let mut pick = self.random.random_range(0..total);
        let mut index = 0;
        while pick >= MARKETS[index].weight {
            pick -= MARKETS[index].weight;
            index += 1;
        }
        let (shock, size) = (self.normal(), self.normal());
        let (market, walk) = (&MARKETS[index], &mut self.walks[index]);
        let move_by = walk.variance.sqrt() * shock;
        walk.log_price += move_by + PULL * (market.start.ln() - walk.log_price);
        let (least, most) = (DEVIATIONS.0.powi(2), DEVIATIONS.1.powi(2));
        let next = PERSISTENCE * walk.variance + REACTION * move_by.powi(2) + CALM * CALM_DEVIATION.powi(2);
        walk.variance = next.clamp(least, most);
        let id = walk.next_id;
        walk.next_id += 1;
        let price = walk.log_price.exp();
        let quantity = market.value / price * (SIZE_DEVIATION * size).exp();
        PriceTickEvent {
            symbol: market.symbol.to_owned(),
            price: decimal(price, market.price_scale),
            quantity: decimal(quantity, market.quantity_scale),
            timestamp: now,
            exchange: EXCHANGE.to_owned(),
            trade_id: Some(TradeId::Number(id)),
        }
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.random_ratio(1, many)
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (u, v): (f64, f64) = (self.random.random(), self.random.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// The nearest decimal of so many places, at least the smallest above zero.
fn decimal(value: f64, scale: u32) -> Decimal {
    let units = (value * 10_f64.powi(scale as i32)).round().max(1.0);
    Decimal::new(units as i64, scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn feed(seed: u64, count: i64) -> Vec<PriceTickEvent> {
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut feed = Feed::new(seed);
        (0..count).map(|n| feed.deliver(start + Duration::milliseconds(100 * n))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn believable(seed in any::<u64>()) {
            let ticks = feed(seed, 3_000);
            prop_assert_eq!(&ticks, &feed(seed, 3_000));
            let mut trades = HashMap::new();
            for tick in &ticks {
                prop_assert!(tick.clone().check().is_ok());
                let start = MARKETS.iter().find(|m| m.symbol == tick.symbol).map_or(0.0, |m| m.start);
                let ratio = f64::try_from(tick.price).expect("a number") / start;
                prop_assert!((0.3..3.0).contains(&ratio), "{} at {}", tick.symbol, tick.price);
                let known = trades.insert((tick.symbol.clone(), tick.trade_id.clone()), tick);
                prop_assert!(known.is_none_or(|known| known == tick), "an id has one trade");
            }
            let mut by_id: Vec<_> = trades.into_iter().collect();
            by_id.sort_by(|a, b| a.0.cmp(&b.0));
            for pair in by_id.windows(2) {
                let [(first, earlier), (second, later)] = pair else { unreachable!("windows of 2") };
                prop_assert!(first.0 != second.0 || earlier.timestamp <= later.timestamp);
            }
        }
    }

    #[test]
    fn some_come_twice_and_some_late_but_few() {
        let ticks = feed(7, 20_000);
        let distinct: HashSet<_> = ticks.iter().map(|tick| (tick.symbol.clone(), tick.trade_id.clone())).collect();
        let twice = ticks.len() - distinct.len();
        let late = ticks.windows(2).filter(|pair| pair[1].timestamp < pair[0].timestamp).count();
        assert!((50..200).contains(&twice), "{twice} duplicates");
        assert!((80..400).contains(&late), "{late} late");
    }

    #[test]
    fn volatility_comes_in_clusters() {
        let prices: Vec<f64> = feed(7, 60_000)
            .iter()
            .filter(|tick| tick.symbol == "BTCUSDT")
            .map(|tick| f64::try_from(tick.price).expect("a number").ln())
            .collect();
        let squares: Vec<f64> = prices.windows(2).map(|pair| (pair[1] - pair[0]).powi(2)).collect();
        let mean = squares.iter().sum::<f64>() / squares.len() as f64;
        let covariance = |lag: usize| squares.windows(lag + 1).map(|w| (w[0] - mean) * (w[lag] - mean)).sum::<f64>();
        assert!(covariance(5) / covariance(0) > 0.03, "{}", covariance(5) / covariance(0));
    }
}
