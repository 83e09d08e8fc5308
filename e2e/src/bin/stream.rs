//! A Lambda function that streams its answer: a piece for each record.
//!
//! A word in one of the batch's values makes the stream go wrong in its middle: `poison` ends it
//! with an error, `exit` ends the process with 7, `large` makes it 7 MiB longer.

use aws_lambda_events::kafka::{KafkaEvent, KafkaRecord};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use lambda_runtime::{Error, LambdaEvent, StreamResponse, run, service_fn};
use serde_json::{Value, json};
use std::{process::exit, time::Duration};

/// Long enough for what was sent before to arrive.
const PAUSE: Duration = Duration::from_millis(20);
/// More than Lambda takes.
const LARGE: usize = 7 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(answer)).await
}

async fn answer(
    event: LambdaEvent<KafkaEvent>,
) -> Result<StreamResponse<BoxStream<'static, Result<Bytes, Error>>>, Error> {
    let records = event.payload.records.into_values().flatten().map(echo).collect::<Result<Vec<_>, Error>>()?;
    let met = |word: &str| {
        let values = records.iter().filter_map(|record| record["value"].as_str());
        values.map(str::to_owned).find(|value| value.contains(word))
    };
    let end = if let Some(value) = met("poison") {
        vec![Err(format!("the function does not like `{value}`").into())]
    } else if met("large").is_some() {
        vec![Ok(Bytes::from(" ".repeat(LARGE))), Ok(Bytes::from_static(b"]}"))]
    } else {
        vec![Ok(Bytes::from_static(b"]}"))]
    };
    let exits = met("exit").is_some();
    let pieces = records.into_iter().enumerate().map(|(index, record)| {
        let start = if index == 0 { "{\"records\":[" } else { "," };
        Ok(Bytes::from(format!("{start}{record}")))
    });
    let middle = stream::once(async move {
        tokio::time::sleep(PAUSE).await;
        if exits {
            exit(7);
        }
        Ok(Bytes::new())
    });
    Ok(stream::iter(pieces.collect::<Vec<_>>()).chain(middle).chain(stream::iter(end)).boxed().into())
}

fn echo(record: KafkaRecord) -> Result<Value, Error> {
    let text =
        |base64: Option<String>| Ok::<_, Error>(String::from_utf8(STANDARD.decode(base64.unwrap_or_default())?)?);
    Ok(json!({"key": text(record.key)?, "value": text(record.value)?}))
}
