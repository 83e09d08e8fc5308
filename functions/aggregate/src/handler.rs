//! The work on one batch: read the state it touches, count its trades, write the state, answer
//! the full value of every touched candle once. Where another consumer was faster, it is read and
//! counted again.

use std::time::Duration;

use aws_lambda_events::kafka::KafkaEvent;
use tidemill_contract::life::Point;
use tidemill_contract::{Answer, Failure, PriceTickEvent, Record, records};

use crate::context::Context;
use crate::state::{Input, Outcome, Overflow, State};
use crate::store;

/// How often a batch is counted before it is left to the runner's retries.
const ATTEMPTS: u32 = 20;
/// The pause after the first attempt; it grows by as much with each.
const PAUSE: Duration = Duration::from_millis(2);

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
/// Redis is away, or other consumers write the same candles all the time; nothing has been
/// counted.
pub async fn handle(context: &Context, event: KafkaEvent) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    let records = records(&event);
    let mut inputs = Vec::with_capacity(records.len());
    for record in &records {
        let tick = trade(record).map_err(|failure| answer.fail(record.item(), failure)).ok();
        inputs.push(Input {
            tick,
            topic_partition: record.topic_partition().to_owned(),
            partition: record.partition(),
            point: Point::from(record),
        });
    }
    let (now, outcome) = count(context, &inputs).await?;
    for topic_partition in outcome.anew {
        tracing::warn!(topic_partition, "the partition began anew; its records are counted from here on");
    }
    for index in outcome.duplicates {
        answer.drop_item(records[index].item(), "duplicate");
    }
    for candle in store::events(&now, &outcome.touched) {
        answer.emit(candle.symbol.clone(), &candle)?;
    }
    Ok(answer)
}

/// Counts the inputs; gives the state as it was written.
async fn count(context: &Context, inputs: &[Input]) -> Result<(State, Outcome), Error> {
    let mut attempt = 1;
    loop {
        let read = store::load(&context.redis, inputs).await?;
        let mut now = read.state.clone();
        let outcome = now.apply(inputs)?;
        match store::save(&context.redis, &read, &now).await {
            Ok(()) => return Ok((now, outcome)),
            Err(store::Error::Stale { .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn trade(record: &Record<'_>) -> Result<PriceTickEvent, Failure> {
    record.decode::<PriceTickEvent>()?.check()
}
