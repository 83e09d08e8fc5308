//! The work on one batch: read the state it touches, count its trades, write the state, answer
//! the full value of every touched candle once.

use std::collections::BTreeSet;

use aws_lambda_events::kafka::KafkaEvent;
use tidemill_contract::{Answer, Failure, PriceTickEvent, Record, records};

use crate::context::Context;
use crate::state::{Overflow, Trade};
use crate::store;

/// The whole batch has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See the source.
    #[error("failed to keep the state")]
    Store(#[from] store::Error),
    /// See the source.
    #[error("failed to sum up")]
    Overflow(#[from] Overflow),
    /// A candle has no JSON form.
    #[error("failed to encode a candle")]
    Encode(#[from] serde_json::Error),
}

/// Answers a batch of trades.
///
/// # Errors
/// Redis is away or another consumer writes the same partition; nothing has been counted.
pub async fn handle(context: &Context, event: KafkaEvent) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    let records = records(&event);
    let (mut trades, mut items) = (Vec::new(), Vec::new());
    for record in &records {
        match trade(record) {
            Ok(trade) => {
                trades.push(trade);
                items.push(record.item());
            }
            Err(failure) => answer.fail(record.item(), failure),
        }
    }
    let partitions: BTreeSet<&str> = records.iter().map(Record::topic_partition).collect();
    let read = store::load(&context.redis, &partitions, &trades).await?;
    let mut now = read.clone();
    let outcome = now.apply(&trades)?;
    for record in &records {
        now.advance(record.topic_partition(), record.offset());
    }
    store::save(&context.redis, &read, &now).await?;

    for index in outcome.duplicates {
        answer.drop_item(items[index].clone(), "duplicate");
    }
    for candle in store::events(&now, &outcome.touched) {
        answer.emit(candle.symbol.clone(), &candle)?;
    }
    Ok(answer)
}

fn trade(record: &Record<'_>) -> Result<Trade, Failure> {
    Ok(Trade {
        tick: record.decode::<PriceTickEvent>()?.check()?,
        topic_partition: record.topic_partition().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
    })
}
