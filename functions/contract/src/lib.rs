//! What the market functions share: the JSON events that pass between them, the records of
//! Lambda's Kafka event, and the answer a function gives. Nothing here talks to Kafka: a
//! function built on this crate is an ordinary Lambda function.

pub mod answer;
pub mod article;
pub mod canonical;
pub mod life;
pub mod logging;
pub mod market;
pub mod record;
#[cfg(feature = "redis")]
pub mod redis;
pub mod start;
pub mod symbols;
#[cfg(feature = "testing")]
pub mod testing;

pub use answer::{Answer, Failure, ItemIdentifier, OutputRecord};
pub use article::{ArticleCrawledEvent, ArticleEnrichedEvent, ArticleNormalizedEvent};
pub use life::{Life, Taken};
pub use market::{CandleEvent, PriceTickEvent};
pub use record::{Record, records};
