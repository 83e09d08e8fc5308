//! What a function may answer, read strictly: another shape is a failure that says what was
//! expected.

use crate::{encode::Encodings, entry::Entry, failure::Failure, record::OutRecord};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};
use tidemill_api::plan::OutputPlan;
use tidemill_schemas::Invalid;

/// An answer, related to the records that were asked about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Records to produce.
    pub outputs: Vec<OutRecord>,
    /// Records that failed: index into the batch → why.
    pub failures: BTreeMap<usize, Failure>,
    /// How many records the function left out on purpose.
    pub dropped: usize,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not one of the forms.
    #[error(
        "the answer is not understood ({0}): expected null, or an object with any of `records` \
         ([{{\"key\", \"value\" or \"valueBase64\", \"headers\", \"topic\"}}]), `batchItemFailures` \
         ([{{\"itemIdentifier\": {{\"partition\": \"topic-0\", \"offset\": 15}}}}]) and `dropped`"
    )]
    Shape(String),
    /// A record for a topic that the manifest does not allow.
    #[error("record {index} names topic `{topic}`, which `output.allowedTopics` does not list")]
    Topic {
        /// Which of `records`.
        index: usize,
        /// The topic it names.
        topic: String,
    },
    /// A key or value that the topic's schema does not describe.
    #[error("the {part} of record {index} is not what the schema of topic `{topic}` describes: {reason}")]
    Schema {
        /// Which of `records`.
        index: usize,
        /// `key` or `value`.
        part: &'static str,
        /// The topic it is for.
        topic: String,
        /// What the schema says.
        reason: Invalid,
    },
    /// A `valueBase64` that is not base64.
    #[error("record {index} has a `valueBase64` that is not base64: {reason}")]
    Base64 {
        /// Which of `records`.
        index: usize,
        /// The decoder's reason.
        reason: String,
    },
    /// A failure or drop names a record that was not in the batch.
    #[error("`{list}` names {partition} offset {offset}, which is not in the batch")]
    Item {
        /// `batchItemFailures` or `dropped`.
        list: &'static str,
        /// The partition it names.
        partition: String,
        /// The offset it names.
        offset: i64,
    },
}

impl Answer {
    /// What it says of each of the batches of these sizes that it is for, one behind the other; its outputs, and
    /// how many were left out, are the first one's.
    #[must_use]
    pub fn split(mut self, sizes: impl Iterator<Item = usize>) -> Vec<Self> {
        let mut answers = Vec::new();
        let mut first = 0;
        for size in sizes {
            let behind = self.failures.split_off(&(first + size));
            let failures = std::mem::replace(&mut self.failures, behind);
            let failures = failures.into_iter().map(|(place, failure)| (place - first, failure)).collect();
            let (outputs, dropped) = (std::mem::take(&mut self.outputs), std::mem::take(&mut self.dropped));
            answers.push(Self { outputs, failures, dropped });
            first += size;
        }
        answers
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object")]
struct Form<'a> {
    #[serde(default, borrow)]
    records: Option<Vec<RecordForm<'a>>>,
    #[serde(default)]
    batch_item_failures: Option<Vec<ItemForm>>,
    #[serde(default)]
    dropped: Option<Vec<ItemForm>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordForm<'a> {
    #[serde(default)]
    key: Option<String>,
    #[serde(default, borrow)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemForm {
    item_identifier: Identifier,
    error_type: Option<String>,
    error_message: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    partition: String,
    offset: i64,
}

/// Without `output`, only what is about failures is read and any JSON is success.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct FailuresForm {
    #[serde(default)]
    batch_item_failures: Option<Vec<ItemForm>>,
    #[serde(default)]
    dropped: Option<Vec<ItemForm>>,
}

/// Reads the answer to an invocation with `records`.
///
/// # Errors
/// When the answer is of another shape, or speaks of records or topics that are not its own.
pub fn read(
    body: &[u8],
    records: &[Entry],
    output: Option<&OutputPlan>,
    encodings: &Encodings,
) -> Result<Answer, Error> {
    let Some(output) = output else {
        let shape = |error: serde_json::Error| Error::Shape(error.to_string());
        let form = match body.trim_ascii() {
            [] | b"null" => FailuresForm::default(),
            body @ [b'{', ..] => serde_json::from_slice(body).map_err(shape)?,
            body => serde_json::from_slice::<IgnoredAny>(body).map(|_| FailuresForm::default()).map_err(shape)?,
        };
        return related(Vec::new(), form.batch_item_failures, form.dropped, records);
    };
    if body.trim_ascii().is_empty() {
        return Ok(Answer::default());
    }
    let form: Option<Form<'_>> = serde_json::from_slice(body).map_err(|error| Error::Shape(error.to_string()))?;
    let form = form.unwrap_or_default();
    let outputs = form.records.unwrap_or_default();
    let outputs = outputs
        .into_iter()
        .enumerate()
        .map(|(index, record)| out_record(index, record, output, encodings))
        .collect::<Result<_, _>>()?;
    related(outputs, form.batch_item_failures, form.dropped, records)
}

fn related(
    outputs: Vec<OutRecord>,
    failures: Option<Vec<ItemForm>>,
    dropped: Option<Vec<ItemForm>>,
    records: &[Entry],
) -> Result<Answer, Error> {
    let mut answer = Answer { outputs, ..Answer::default() };
    let (failures, dropped) = (failures.unwrap_or_default(), dropped.unwrap_or_default());
    if failures.is_empty() && dropped.is_empty() {
        return Ok(answer);
    }
    // Few are named of many: a hash of each record's place would cost more than it saves.
    let mut places: Vec<(i64, usize)> = records.iter().map(Entry::offset).zip(0..).collect();
    places.sort_unstable();
    let find = |list, item: &ItemForm| {
        let Identifier { partition, offset } = &item.item_identifier;
        let found = partition.rsplit_once('-').and_then(|(topic, number)| {
            let number: i32 = number.parse().ok()?;
            let after = &places[places.partition_point(|(place, _)| place < offset)..];
            let mut same = after.iter().take_while(|(place, _)| place == offset).map(|(_, index)| *index);
            same.find(|index| records[*index].partition() == number && records[*index].topic() == topic)
        });
        found.ok_or_else(|| Error::Item { list, partition: partition.clone(), offset: *offset })
    };
    let dropped: HashSet<usize> = dropped.iter().map(|item| find("dropped", item)).collect::<Result<_, _>>()?;
    for item in failures {
        let index = find("batchItemFailures", &item)?;
        let kind = item.error_type.unwrap_or_else(|| "BatchItemFailure".to_owned());
        let message =
            item.error_message.unwrap_or_else(|| "the function named this record in batchItemFailures".to_owned());
        answer.failures.insert(index, Failure::new(kind, message));
    }
    // A record that failed is tried again: it is not left out yet.
    answer.dropped = dropped.iter().filter(|index| !answer.failures.contains_key(index)).count();
    Ok(answer)
}

fn out_record(
    index: usize,
    record: RecordForm<'_>,
    output: &OutputPlan,
    encodings: &Encodings,
) -> Result<OutRecord, Error> {
    let topic = match record.topic {
        Some(topic) if topic == output.topic || output.allowed_topics.contains(&topic) => topic,
        Some(topic) => return Err(Error::Topic { index, topic }),
        None => output.topic.clone(),
    };
    let schemas = encodings.of(&topic);
    let invalid = |part, reason| Error::Schema { index, part, topic: topic.clone(), reason };
    let value = match (record.value, record.value_base64) {
        (Some(_), Some(_)) => {
            return Err(Error::Shape(format!("record {index} has both `value` and `valueBase64`")));
        }
        (None, Some(text)) => Some(
            STANDARD
                .decode(text)
                .map(Bytes::from)
                .map_err(|error| Error::Base64 { index, reason: error.to_string() })?,
        ),
        (Some(raw), None) if raw.get() == "null" => None,
        (Some(raw), None) => match schemas.and_then(|schemas| schemas.value(raw.get())) {
            Some(encoded) => Some(encoded.map_err(|reason| invalid("value", reason))?),
            None => Some(text_or_json(raw).ok_or_else(|| {
                Error::Shape(format!(
                    "`value` of record {index} is a string with half of a surrogate pair, which is no text: send it as `valueBase64`"
                ))
            })?),
        },
        (None, None) => None,
    };
    let key = record.key.map(|key| match schemas {
        Some(schemas) => schemas.key(key).map_err(|reason| invalid("key", reason)),
        None => Ok(Bytes::from(key)),
    });
    let headers = record.headers.unwrap_or_default();
    let key = key.transpose()?;
    Ok(OutRecord {
        topic,
        partition: None,
        key,
        value,
        headers: headers.into_iter().map(|(name, value)| (name, Some(value.into_bytes()))).collect(),
    })
}

/// A string is sent as its text, anything else as the JSON it is; `None` where a string is no text.
fn text_or_json(raw: &RawValue) -> Option<Bytes> {
    if raw.get().starts_with('"') {
        return serde_json::from_str::<String>(raw.get()).ok().map(Bytes::from);
    }
    Some(Bytes::copy_from_slice(raw.get().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{Answer, Error, read};
    use crate::{
        encode::Encodings,
        entry::Entry,
        failure::Failure,
        record::{OutRecord, Record},
    };
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use tidemill_api::{Delivery, plan::OutputPlan};

    fn output() -> OutputPlan {
        OutputPlan {
            cluster: "default/main".to_owned(),
            topic: "out".to_owned(),
            allowed_topics: vec!["other".to_owned()],
            delivery: Delivery::AtLeastOnce,
        }
    }

    fn of(topic: &str, partition: i32, offset: i64) -> Entry {
        Entry::from(Record { topic: topic.into(), partition, offset, ..Record::default() })
    }

    fn batch() -> Vec<Entry> {
        (10..13).map(|offset| of("raw", 0, offset)).collect()
    }

    fn record(topic: &str, key: Option<&str>, value: Option<&str>) -> OutRecord {
        OutRecord {
            topic: topic.to_owned(),
            partition: None,
            key: key.map(|key| Bytes::from(key.to_owned())),
            value: value.map(|value| Bytes::from(value.to_owned())),
            headers: Vec::new(),
        }
    }

    #[test]
    fn records_are_read_in_every_form() {
        let cases = [
            ("null", vec![]),
            ("", vec![]),
            ("{}", vec![]),
            (r#"{"records":null}"#, vec![]),
            (
                r#"{"records":[{"key":"k","value":{"a": 1.50}}]}"#,
                vec![record("out", Some("k"), Some(r#"{"a": 1.50}"#))],
            ),
            (r#"{"records":[{"value":"te\"xt"}]}"#, vec![record("out", None, Some("te\"xt"))]),
            (r#"{"records":[{"valueBase64":"SGk="}]}"#, vec![record("out", None, Some("Hi"))]),
            (r#"{"records":[{"key":"k","value":null}]}"#, vec![record("out", Some("k"), None)]),
            (r#"{"records":[{"topic":"other","value":7}]}"#, vec![record("other", None, Some("7"))]),
        ];
        for (body, expected) in cases {
            let answer = read(body.as_bytes(), &batch(), Some(&output()), &Encodings::default()).expect(body);
            assert_eq!(answer, Answer { outputs: expected, ..Answer::default() }, "{body}");
        }
    }

    #[test]
    fn failures_and_drops_are_related_to_the_batch() {
        let body = r#"{"batchItemFailures":[
            {"itemIdentifier":{"partition":"raw-0","offset":11},"errorType":"NotHtml","errorMessage":"it is a PDF"}],
            "dropped":[{"itemIdentifier":{"partition":"raw-0","offset":12},"reason":"duplicate"}]}"#;
        let failure = Failure::new("NotHtml", "it is a PDF");
        let expected = Answer { outputs: vec![], failures: BTreeMap::from([(1, failure)]), dropped: 1 };
        for output in [None, Some(&output())] {
            assert_eq!(read(body.as_bytes(), &batch(), output, &Encodings::default()).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn each_of_several_batches_has_its_own_failures() {
        let failures = [0, 3, 4, 6].map(|place| (place, Failure::new("No", place)));
        let answer = Answer { failures: failures.into(), dropped: 2, ..Answer::default() };
        let parts = answer.split([3, 1, 0, 3].into_iter());
        let of =
            |part: &Answer| part.failures.iter().map(|(place, failure)| (*place, failure.message.clone())).collect();
        let failures: Vec<Vec<(usize, String)>> = parts.iter().map(of).collect();
        let at = |place, was: &str| (place, was.to_owned());
        assert_eq!(failures, [vec![at(0, "0")], vec![at(0, "3")], vec![], vec![at(0, "4"), at(2, "6")]]);
        assert_eq!(parts.iter().map(|part| part.dropped).collect::<Vec<_>>(), [2, 0, 0, 0]);
    }

    #[test]
    fn a_failure_is_of_its_topic_and_partition_where_others_have_its_offset() {
        let batch = [of("raw", 1, 7), of("raw-2", 0, 7), of("raw", 0, 7), of("raw", 2, 7)];
        for (name, index) in [("raw-1", 0), ("raw-2-0", 1), ("raw-0", 2), ("raw-2", 3)] {
            let body = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":{{"partition":"{name}","offset":7}}}}]}}"#);
            let answer = read(body.as_bytes(), &batch, None, &Encodings::default()).expect("an answer");
            assert_eq!(answer.failures.into_keys().collect::<Vec<_>>(), [index], "{name}");
        }
    }

    #[test]
    fn other_shapes_are_refused_with_what_was_expected() {
        let cases = [
            (r#""done""#, "expected null"),
            (r#"{"record":[]}"#, "expected null"),
            (r#"{"records":[{"val":1}]}"#, "expected null"),
            (r#"{"records":[{"value":1,"valueBase64":"SGk="}]}"#, "both `value` and `valueBase64`"),
            (r#"{"records":[{"valueBase64":"%"}]}"#, "not base64"),
            (
                r#"{"records":[{"value":1},{"value":"ab\ud83d"}]}"#,
                "`value` of record 1 is a string with half of a surrogate",
            ),
            (r#"{"records":[{"topic":"raw","value":1}]}"#, "`output.allowedTopics` does not list"),
            (r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"raw-0","offset":99}}]}"#, "not in the batch"),
            ("{", "expected null"),
        ];
        for (body, words) in cases {
            let error =
                read(body.as_bytes(), &batch(), Some(&output()), &Encodings::default()).expect_err(body).to_string();
            assert!(error.contains(words), "{body}: {error}");
        }
    }

    #[test]
    fn without_output_any_json_is_success() {
        for body in ["", "null", "7", r#""ok""#, r#"{"statusCode":200}"#, "[1]", " \n", " [ ] "] {
            assert_eq!(read(body.as_bytes(), &batch(), None, &Encodings::default()), Ok(Answer::default()), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_no_answer() {
        for body in ["not json at all", "nul", "[1", r#"{"statusCode":200"#, "null null", r#""cut"#, "\u{0}"] {
            for output in [None, Some(&output())] {
                let error = read(body.as_bytes(), &batch(), output, &Encodings::default()).expect_err(body);
                assert!(matches!(error, Error::Shape(_)), "{body}: {error}");
            }
        }
    }
}
