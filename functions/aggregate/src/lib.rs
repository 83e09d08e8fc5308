//! `aggregate`: trades in, candles out. Candles follow event time: late trades revise them and
//! duplicates don't count, whatever the order and the batches in which trades arrive.

pub mod candle;
pub mod context;
pub mod handler;
pub mod seen;
pub mod state;
pub mod store;
