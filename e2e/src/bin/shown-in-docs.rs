//! The Rust function of docs/functions.md.

use aws_lambda_events::kafka::KafkaEvent;
use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<KafkaEvent>) -> Result<Value, Error> {
    let mut records = Vec::new();
    for record in event.payload.records.into_values().flatten() {
        let text = String::from_utf8(STANDARD.decode(record.value.unwrap_or_default())?)?;
        records.push(json!({"key": text, "value": text.to_uppercase()}));
    }
    Ok(json!({"records": records}))
}
