//! Any order of arrival, any split into batches and any crash between them gives the candles
//! that a straightforward computation over all trades gives.

use std::collections::BTreeMap;

use aggregate::state::{Input, State};
use aggregate::store::events;
use chrono::DateTime;
use proptest::prelude::*;
use rust_decimal::Decimal;
use tidemill_contract::life::Point;
use tidemill_contract::market::{CandleEvent, PriceTickEvent, TradeId};

type Key = (String, String, i64);

/// What may happen to a batch.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Done,
    LostBeforeWrite,
    AnswerLost,
}

fn tick(symbol: usize, id: u64, second: i64, price: i64, quantity: i64) -> PriceTickEvent {
    PriceTickEvent {
        symbol: ["BTCUSDT", "ETHUSDT"][symbol].into(),
        price: Decimal::new(price, 2),
        quantity: Decimal::new(quantity, 5),
        timestamp: DateTime::from_timestamp(1_767_225_600 + second, 0).expect("a time"),
        exchange: "x".into(),
        trade_id: Some(TradeId::Number(id)),
    }
}

/// Trades with ids of their own, some of them twice, in any order.
fn arrivals() -> impl Strategy<Value = Vec<PriceTickEvent>> {
    let trade = (0..2_usize, 0..700_i64, 1..500_i64, 1..900_i64, 1..3_usize);
    prop::collection::vec(trade, 1..40)
        .prop_map(|trades| {
            let numbered = trades.into_iter().enumerate();
            numbered
                .flat_map(|(id, (symbol, second, price, quantity, copies))| {
                    vec![tick(symbol, id as u64, second, price, quantity); copies]
                })
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn steps() -> impl Strategy<Value = Vec<(usize, Fate)>> {
    let fate = prop::sample::select(vec![Fate::Done, Fate::Done, Fate::LostBeforeWrite, Fate::AnswerLost]);
    prop::collection::vec((1..12_usize, fate), 0..20)
}

/// Every candle from all trades at once, each id counted once.
fn reference(arrivals: &[PriceTickEvent]) -> BTreeMap<Key, CandleEvent> {
    let mut by_id: BTreeMap<_, &PriceTickEvent> = BTreeMap::new();
    for tick in arrivals {
        by_id.insert((tick.timestamp, tick.trade_id.clone()), tick);
    }
    let mut groups: BTreeMap<Key, Vec<&PriceTickEvent>> = BTreeMap::new();
    for (name, seconds) in [("1m", 60), ("5m", 300)] {
        for tick in by_id.values() {
            let open = tick.timestamp.timestamp() / seconds * seconds;
            groups.entry((tick.symbol.clone(), name.to_owned(), open)).or_default().push(tick);
        }
    }
    groups
        .into_iter()
        .map(|(key, ticks)| {
            let prices = || ticks.iter().map(|tick| tick.price);
            let volume: Decimal = ticks.iter().map(|tick| tick.quantity).sum();
            let value: Decimal = ticks.iter().map(|tick| tick.price * tick.quantity).sum();
            let candle = CandleEvent {
                symbol: key.0.clone(),
                exchange: "x".into(),
                interval: key.1.clone(),
                time: DateTime::from_timestamp(key.2, 0).expect("a time"),
                open: ticks[0].price.normalize(),
                high: prices().max().expect("a trade").normalize(),
                low: prices().min().expect("a trade").normalize(),
                close: ticks[ticks.len() - 1].price.normalize(),
                volume: volume.normalize(),
                vwap: (value / volume).round_sf(18).expect("18 digits").normalize(),
                trade_count: ticks.len() as u64,
            };
            (key, candle)
        })
        .collect()
}

proptest! {
    #[test]
    fn the_same_candles(arrivals in arrivals(), steps in steps()) {
        let log: Vec<Input> = arrivals
            .iter()
            .zip(0..)
            .map(|(tick, offset)| Input {
                tick: Some(tick.clone()),
                topic_partition: "price-ticks-0".into(),
                partition: 0,
                point: Point { offset, time: 0 },
            })
            .collect();
        let (mut state, mut topic, mut at) = (State::default(), BTreeMap::new(), 0);
        let rest = std::iter::repeat((usize::MAX, Fate::Done));
        for (length, fate) in steps.into_iter().chain(rest) {
            if at == log.len() {
                break;
            }
            let end = at.saturating_add(length).min(log.len());
            let mut now = state.clone();
            let outcome = now.apply(&log[at..end]).expect("small numbers");
            if matches!(fate, Fate::LostBeforeWrite) {
                continue;
            }
            state = now;
            if matches!(fate, Fate::AnswerLost) {
                continue;
            }
            for candle in events(&state, &outcome.touched) {
                let key = (candle.symbol.clone(), candle.interval.clone(), candle.time.timestamp());
                topic.insert(key, candle);
            }
            at = end;
        }
        prop_assert_eq!(topic, reference(&arrivals));
    }
}
