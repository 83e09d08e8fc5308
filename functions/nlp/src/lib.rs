//! `nlp`: articles in, articles with sentiment, tickers and entities out. What it says of a
//! text depends on the text alone: no state, no clock, no network.

pub mod analysis;
pub mod entities;
pub mod features;
pub mod handler;
pub mod lexicon;
pub mod model;
