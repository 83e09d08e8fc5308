//! A Lambda function that answers each record with a record of the same key and value.
//!
//! It knows nothing of Tidemill. What a test needs to go wrong is set by the environment, which is
//! read once, at the start.

use aws_lambda_events::kafka::{KafkaEvent, KafkaRecord};
use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_runtime::{Context, Error, LambdaEvent, run, run_concurrent, service_fn};
use serde::{Serialize, de::IgnoredAny};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    process::{self, exit},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::sleep;

/// The answer that is too large: Lambda takes 6 MiB.
const TOO_LARGE: usize = 7 << 20;

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    #[serde(rename_all = "camelCase")]
    Echo {
        records: Vec<Output>,
        batch_item_failures: Vec<Item>,
    },
    Literal(Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    item_identifier: Identifier,
}

#[derive(Serialize)]
struct Identifier {
    partition: String,
    offset: i64,
}

#[derive(Serialize)]
struct Output {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    value: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

/// What goes otherwise than usual; `…_ON` is a text in one of the batch's values.
struct Behaviour {
    /// The invocation fails.
    fail_on: Option<String>,
    /// The process ends with exit code 7.
    exit_on: Option<String>,
    /// The answer is too large.
    big_on: Option<String>,
    /// Such records are named in `batchItemFailures`.
    report_on: Option<String>,
    /// Only such a batch takes `SLEEP_MS`; every batch does where it is not set.
    sleep_on: Option<String>,
    sleep: Duration,
    /// Each record takes so long.
    sleep_each: Duration,
    /// Only such a batch gets `ANSWER`; every batch does where it is not set.
    answer_on: Option<String>,
    /// Headers are answered too; they must be text.
    headers: bool,
    /// This JSON is the answer.
    answer: Option<Value>,
    /// What Lambda's context says is in each record's headers, how many events the process works on,
    /// and how many it has been given.
    tell_context: bool,
    in_flight: AtomicUsize,
    events: AtomicUsize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if env::var_os("IGNORE").is_some() {
        // What a function costs that looks at nothing: the client's part alone.
        return run(service_fn(async |_: LambdaEvent<IgnoredAny>| Ok::<_, Error>(Value::Null))).await;
    }
    let behaviour = Arc::new(Behaviour::from_env()?);
    run_concurrent(service_fn(move |event: LambdaEvent<KafkaEvent>| {
        let behaviour = behaviour.clone();
        async move { behaviour.answer(event).await }
    }))
    .await
}

impl Behaviour {
    fn from_env() -> Result<Self, Error> {
        Ok(Self {
            fail_on: variable("FAIL_ON")?,
            exit_on: variable("EXIT_ON")?,
            big_on: variable("BIG_ON")?,
            report_on: variable("REPORT_ON")?,
            sleep_on: variable("SLEEP_ON")?,
            sleep: Duration::from_millis(variable("SLEEP_MS")?.unwrap_or(0)),
            sleep_each: Duration::from_millis(variable("SLEEP_EACH_MS")?.unwrap_or(0)),
            answer_on: variable("ANSWER_ON")?,
            headers: variable("HEADERS")?.unwrap_or(false),
            answer: variable("ANSWER")?,
            tell_context: variable("TELL_CONTEXT")?.unwrap_or(false),
            in_flight: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
        })
    }

    async fn answer(&self, event: LambdaEvent<KafkaEvent>) -> Result<Answer, Error> {
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let number = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = self.answer_beside(event, in_flight, number).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    async fn answer_beside(
        &self,
        event: LambdaEvent<KafkaEvent>,
        in_flight: usize,
        number: usize,
    ) -> Result<Answer, Error> {
        if let (Some(answer), None) = (&self.answer, &self.answer_on) {
            return Ok(Answer::Literal(answer.clone()));
        }
        let headers = if self.tell_context { headers(&event.context, in_flight, number) } else { BTreeMap::new() };
        let (mut records, mut failures) = (Vec::new(), Vec::new());
        for record in event.payload.records.into_values().flatten() {
            let place = (record.topic.clone(), record.partition, record.offset);
            let output = echo(record, self.headers, &headers)?;
            let reported = self.report_on.as_deref().zip(output.value.as_deref());
            if reported.is_some_and(|(text, value)| value.contains(text)) {
                let (topic, partition, offset) = place;
                let partition = format!("{}-{partition}", topic.unwrap_or_default());
                failures.push(Item { item_identifier: Identifier { partition, offset } });
            } else {
                records.push(output);
            }
        }
        let met = |text: &Option<String>| {
            let text = text.as_deref()?;
            records.iter().filter_map(|record| record.value.as_deref()).find(|value| value.contains(text))
        };
        if let (Some(answer), Some(_)) = (&self.answer, met(&self.answer_on)) {
            return Ok(Answer::Literal(answer.clone()));
        }
        let mut pause = self.sleep_each * u32::try_from(records.len()).unwrap_or(u32::MAX);
        if self.sleep_on.is_none() || met(&self.sleep_on).is_some() {
            pause += self.sleep;
        }
        // Of no time at all tokio makes a millisecond.
        if !pause.is_zero() {
            sleep(pause).await;
        }
        if met(&self.exit_on).is_some() {
            exit(7);
        }
        if let Some(value) = met(&self.fail_on) {
            return Err(format!("the function does not like `{value}`").into());
        }
        if met(&self.big_on).is_some() {
            let large = Output { key: None, value: Some("x".repeat(TOO_LARGE)), headers };
            return Ok(Answer::Echo { records: vec![large], batch_item_failures: failures });
        }
        Ok(Answer::Echo { records, batch_item_failures: failures })
    }
}

fn headers(context: &Context, in_flight: usize, number: usize) -> BTreeMap<String, String> {
    let remaining = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
    let told = [
        ("function", context.env_config.function_name.clone()),
        ("request", context.request_id.clone()),
        ("remaining", remaining.as_millis().to_string()),
        ("process", process::id().to_string()),
        ("in-flight", in_flight.to_string()),
        ("event", number.to_string()),
    ];
    told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `own` says whether the record's headers are answered beside `more`.
fn echo(record: KafkaRecord, own: bool, more: &BTreeMap<String, String>) -> Result<Output, Error> {
    let text = |base64: String| Ok::<_, Error>(String::from_utf8(STANDARD.decode(base64)?)?);
    let (key, value) = (record.key.map(text).transpose()?, record.value.map(text).transpose()?);
    let mut headers = more.clone();
    for (name, value) in record.headers.into_iter().flatten().filter(|_| own) {
        headers.insert(name, String::from_utf8(value.into_iter().map(i8::cast_unsigned).collect())?);
    }
    Ok(Output { key, value, headers })
}

fn variable<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<Option<T>, Error> {
    match env::var(name) {
        Ok(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("{name}: {error}").into()),
        },
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}
