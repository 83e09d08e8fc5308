//! Messages as bytes and back, and what a reader makes of fields, values and versions it has not.

use prost::Message;
use prost_types::Timestamp;
use rust_decimal::Decimal;
use std::{collections::BTreeMap, fmt::Debug};
use tidemill_proto::{
    common::{self, ErrorInfo, HealthState, HealthStatus},
    market::{OhlcvCandle, OrderBookSnapshot, PriceLevel, PriceTick},
    strategy::{PerformanceMetrics, SignalDirection, SignalType, TradingSignal},
    trading::{OrderEvent, OrderSide, OrderStatus, OrderType, TimeInForce},
};

fn decimal(mantissa: i64, scale: u32) -> Option<common::Decimal> {
    Some(Decimal::new(mantissa, scale).into())
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 120_000_000 })
}

fn check<M: Message + Default + PartialEq + Debug>(message: &M) {
    assert_eq!(&M::decode(message.encode_to_vec().as_slice()).expect("a message"), message);
    assert_eq!(M::decode([].as_slice()).expect("a message"), M::default(), "no field is required");
}

fn tick() -> PriceTick {
    PriceTick {
        symbol: "BTC-USD".to_owned(),
        exchange: "coinbase".to_owned(),
        timestamp: at(1_769_810_643),
        price: decimal(8_412_350, 2),
        volume: decimal(15, 4),
        bid_price: decimal(8_412_349, 2),
        ask_price: None,
        bid_size: decimal(0, 0),
        ask_size: None,
        trade_count: i64::MAX,
        vwap: None,
    }
}

#[test]
fn every_message_comes_back_as_it_was() {
    check(&tick());
    let level = PriceLevel { price: decimal(1, 8), size: decimal(-5, 0) };
    check(&OrderBookSnapshot {
        bids: vec![level.clone(), level],
        asks: Vec::new(),
        mid_price: decimal(5, 1),
        ..Default::default()
    });
    check(&OhlcvCandle { open: decimal(1, 0), timeframe: "1m".to_owned(), vwap: decimal(3, 3), ..Default::default() });
    check(&OrderEvent {
        order_id: "o-1".to_owned(),
        side: OrderSide::Sell.into(),
        r#type: OrderType::StopLimit.into(),
        status: OrderStatus::Partial.into(),
        time_in_force: TimeInForce::Fok.into(),
        commission_currency: Some(String::new()),
        error_message: None,
        metadata: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        created_at: at(-1),
        ..Default::default()
    });
    check(&TradingSignal {
        r#type: SignalType::TakeProfit.into(),
        direction: SignalDirection::Close.into(),
        confidence: 0.1 + 0.2,
        indicators: BTreeMap::from([("rsi".to_owned(), f64::MIN_POSITIVE)]),
        ..Default::default()
    });
    check(&PerformanceMetrics { sharpe_ratio: Some(0.0), sortino_ratio: None, losing_trades: 3, ..Default::default() });
    check(&ErrorInfo { code: "E".to_owned(), timestamp: -1, ..Default::default() });
    check(&HealthStatus { state: HealthState::Degraded.into(), timestamp: at(0), ..Default::default() });
}

#[test]
fn absent_is_not_zero() {
    let read = PriceTick::decode(tick().encode_to_vec().as_slice()).expect("a message");
    assert_eq!((read.bid_size, read.ask_size), (decimal(0, 0), None));
}

#[test]
fn the_field_numbers_are_those_that_were_agreed() {
    // Number and wire type (0 varint, 1 eight bytes, 2 length) of each field, as the bytes have it.
    let keys = |bytes: &[u8]| {
        let (mut rest, mut keys) = (bytes, Vec::new());
        while !rest.is_empty() {
            let key = prost::encoding::decode_varint(&mut rest).expect("a key");
            let length = match key & 7 {
                0 => prost::encoding::decode_varint(&mut rest).map(|_| 0).expect("a number"),
                1 => 8,
                _ => prost::encoding::decode_varint(&mut rest).expect("a length"),
            };
            rest = &rest[usize::try_from(length).expect("short")..];
            keys.push((key >> 3, key & 7));
        }
        keys
    };
    let some = decimal(1, 0);
    let full = PriceTick { ask_price: some.clone(), ask_size: some.clone(), vwap: some, ..tick() };
    let lengths = |numbers: std::ops::RangeInclusive<u64>| numbers.map(|number| (number, 2)).collect::<Vec<_>>();
    assert_eq!(keys(&full.encode_to_vec()), [lengths(1..=9), vec![(10, 0)], lengths(11..=11)].concat());
    let signal =
        TradingSignal { r#type: 1, direction: 2, confidence: 0.5, reason: "r".to_owned(), ..Default::default() };
    assert_eq!(keys(&signal.encode_to_vec()), [(5, 0), (6, 0), (7, 1), (13, 2)]);
    let order = OrderEvent { side: 1, r#type: 2, status: 3, time_in_force: 4, ..Default::default() };
    assert_eq!(keys(&order.encode_to_vec()), [(6, 0), (7, 0), (8, 0), (16, 0)]);
}

#[test]
fn what_a_newer_writer_adds_is_read_over() {
    let mut bytes = tick().encode_to_vec();
    bytes.extend([0xa2, 0x06, 2, b'h', b'i']); // Field 100, two bytes.
    assert_eq!(PriceTick::decode(bytes.as_slice()).expect("a message"), tick());
    let order = OrderEvent { side: 99, ..Default::default() };
    let read = OrderEvent::decode(order.encode_to_vec().as_slice()).expect("a message");
    assert_eq!((read.side, read.side()), (99, OrderSide::Unknown), "a value it has not is unknown, and kept");
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let bytes = tick().encode_to_vec();
    for broken in [&bytes[..bytes.len() - 1], b"\x0a\xff", b"\x08\x01"] {
        PriceTick::decode(broken).expect_err("it is cut off, or another type");
    }
}
