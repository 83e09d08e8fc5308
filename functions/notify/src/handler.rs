//! The work on one batch: turn records into messages, write them; what cannot be a message
//! fails alone. There is no output: Redis is where this function's work shows.

use aws_lambda_events::kafka::KafkaEvent;
use tidemill_contract::{Answer, records};

use crate::context::Context;
use crate::message::message;
use crate::write;

/// Writes a batch of records.
///
/// # Errors
/// Redis is away; the batch can be tried again as it is.
pub async fn handle(context: &Context, event: KafkaEvent) -> Result<Answer, write::Error> {
    let mut answer = Answer::default();
    let mut messages = Vec::new();
    for record in records(&event) {
        match message(&record) {
            Ok(message) => messages.push((record, message)),
            Err(failure) => answer.fail(record.item(), failure),
        }
    }
    let new = write::write(&context.redis, &messages).await?;
    tracing::debug!(new, repeated = messages.len() - new, "records written");
    Ok(answer)
}
