//! Failed records in a bucket: one object each.
//!
//! An object is named after the function and its record, so that a record that fails again after a
//! restart is the same object and not a second one.

use crate::{dead_letter, failure::Failure, pauses::Pauses, pipeline::Unsettled, record::Record};
use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use object_store::{
    ClientOptions, ObjectStoreExt, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tidemill_api::S3Destination;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bucket for failed records.
#[derive(Debug)]
pub struct Archive {
    store: AmazonS3,
    destination: S3Destination,
    function: String,
}

/// A client for a bucket, as the usual variables say.
///
/// # Errors
/// When the variables make no sense.
pub fn bucket(name: &str) -> Result<AmazonS3> {
    let client = ClientOptions::new().with_allow_http(true).with_timeout(PATIENCE);
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name).with_client_options(client);
    if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL_S3") {
        builder = builder.with_endpoint(endpoint);
    }
    if std::env::var_os("AWS_REGION").is_none() {
        builder = builder.with_region("us-east-1");
    }
    Ok(builder.build()?)
}

impl Archive {
    /// The bucket that the manifest of `function` (`namespace/name`) names.
    ///
    /// # Errors
    /// When the environment's settings make no sense.
    pub fn new(destination: &S3Destination, function: String) -> Result<Self> {
        Ok(Self { store: bucket(&destination.bucket)?, destination: destination.clone(), function })
    }

    /// Keeps a failed record; asks again until S3 has it.
    ///
    /// # Errors
    /// When told to stop before.
    pub async fn put(
        &self,
        record: &Record,
        failure: &Failure,
        attempts: u32,
        stop: &CancellationToken,
    ) -> Result<(), Unsettled> {
        let key = Key::from(name(&self.destination.prefix, &self.function, record));
        let body = document(record, failure, attempts).to_string();
        let mut pauses = Pauses::default();
        loop {
            let put = self.store.put(&key, PutPayload::from(body.clone()));
            let error = tokio::select! {
                () = stop.cancelled() => return Err(Unsettled::Stopped),
                put = put => match put {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
            };
            warn!(bucket = self.destination.bucket, %key, %error, retry_in = ?pauses.length(), "the failed record is not kept yet");
            metrics::counter!("tidemill_runner_archive_errors_total").increment(1);
            pauses.wait(stop).await?;
        }
    }
}

/// `<prefix><namespace>/<function>/<topic>/<partition>/<offset>.json`; the offset's digits are as many
/// everywhere, so that a listing has the records in their order.
fn name(prefix: &str, function: &str, record: &Record) -> String {
    format!("{prefix}{function}/{}/{}/{:020}.json", record.topic, record.partition, record.offset)
}

fn document(record: &Record, failure: &Failure, attempts: u32) -> Value {
    let encoded = |bytes: &Option<bytes::Bytes>| bytes.as_deref().map(|bytes| STANDARD.encode(bytes));
    let header =
        |(name, value): &(String, Option<Vec<u8>>)| json!({name: value.as_deref().map(|value| STANDARD.encode(value))});
    let mut document = Map::new();
    for (name, value) in dead_letter::reasons(record, failure, attempts) {
        document.insert(name.to_owned(), Value::String(value));
    }
    document.insert("timestamp".to_owned(), json!(record.timestamp));
    document.insert("keyBase64".to_owned(), json!(encoded(&record.key)));
    document.insert("valueBase64".to_owned(), json!(encoded(&record.value)));
    document.insert("headersBase64".to_owned(), record.headers.iter().map(header).collect());
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::{document, name};
    use crate::{failure::Failure, record::Record};

    #[test]
    fn an_object_says_all_of_its_record() {
        let record = Record {
            topic: "raw".into(),
            partition: 3,
            offset: 42,
            value: Some("Hi".into()),
            headers: vec![("h".to_owned(), Some(b"Hi".to_vec()))],
            ..Record::default()
        };
        assert_eq!(name("failed/", "shop/words", &record), "failed/shop/words/raw/3/00000000000000000042.json");
        let failure = Failure::new("Bad", "why");
        let document = document(&record, &failure, 3);
        let expected = [
            ("original-topic", "raw"),
            ("original-partition", "3"),
            ("original-offset", "42"),
            ("error-type", "Bad"),
            ("error-message", "why"),
            ("attempts", "3"),
            ("valueBase64", "SGk="),
        ];
        for (name, value) in expected {
            assert_eq!(document[name], value, "{name}");
        }
        assert_eq!(document["headersBase64"][0]["h"], "SGk=");
        assert!(document["keyBase64"].is_null());
    }
}
