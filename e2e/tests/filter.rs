//! What a function does not get: it is committed without an invocation, and the rest comes as it would.

use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tidemill_e2e::{
    bed::numbered,
    runner::{Runner, trigger},
    scene::Scene,
};
use tidemill_kafka::rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer},
    topic_partition_list::TopicPartitionList,
};
use tidemill_runner::record::Record;

const PARTITIONS: i32 = 2;

type Headers = &'static [(&'static str, &'static str)];
/// Key, value, headers, and whether the function should have it.
type Kind = (&'static str, Option<&'static str>, Headers, bool);

async fn scene(test: &str, filter: &[Value]) -> Scene {
    let mut scene = Scene::set(test, PARTITIONS).await;
    trigger(&mut scene.config).filter = filter.to_vec();
    scene
}

/// What the group has committed of each partition.
fn places(scene: &Scene) -> Vec<Offset> {
    let reader: BaseConsumer = scene.bed.connection.observer(&scene.input).expect("an observer");
    let mut asked = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        asked.add_partition(&scene.input, partition);
    }
    let places = reader.committed_offsets(asked, Duration::from_secs(10)).expect("the broker tells");
    places.elements().iter().map(|place| place.offset()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_is_committed_without_an_invocation() {
    const RECORDS: u64 = 2_000;
    let scene = scene("filter-all", &[json!({"key": ["nobody's"]})]).await;
    scene.bed.produce(&scene.input, &numbered(RECORDS as usize, 50, PARTITIONS)).await;
    let runner = Runner::start(&scene.config);
    assert_eq!(scene.outputs().await, []);
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.dropped, totals.out), (RECORDS, RECORDS, 0));
    assert_eq!(totals.invocations, 0);
    let end = Offset::Offset(RECORDS as i64 / i64::from(PARTITIONS));
    assert_eq!(places(&scene), [end, end]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_chosen_by_value_key_and_headers() {
    const ROUNDS: usize = 100;
    let filter = [
        json!({"value": {"price": [{"numeric": [">", 5]}]}, "headers": {"env": ["live"]}}),
        json!({"key": [{"prefix": "wanted"}]}),
    ];
    let scene = scene("filter-mixed", &filter).await;
    let (live, test): (Headers, Headers) = (&[("env", "live")], &[("env", "test")]);
    let kinds: [Kind; 9] = [
        ("dear", Some(r#"{"price": 6}"#), live, true),
        ("cheap", Some(r#"{"price": 5}"#), live, false),
        ("tried", Some(r#"{"price": 6}"#), test, false),
        ("bare", Some(r#"{"price": 6}"#), &[], false),
        ("twice", Some(r#"{"price": 6}"#), &[("env", "test"), ("env", "live")], true),
        ("text", Some("6"), live, false),
        ("wanted-text", Some("no JSON"), test, true),
        ("wanted-tombstone", None, &[], true),
        ("tombstone", None, live, false),
    ];
    let key = |kind: &str, round: usize| format!("{kind} {round}");
    let mut records = Vec::new();
    for round in 0..ROUNDS {
        for (number, (kind, value, headers, _)) in kinds.iter().enumerate() {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().into())));
            records.push(Record {
                partition: ((round + number) % 2) as i32,
                key: Some(key(kind, round).into()),
                value: value.map(Into::into),
                headers: headers.collect(),
                ..Record::default()
            });
        }
    }
    scene.bed.produce(&scene.input, &records).await;
    let runner = Runner::start(&scene.config);
    let came = scene.outputs().await;
    let wanted = kinds.iter().filter(|(_, _, _, wanted)| *wanted);
    let wanted: BTreeSet<_> = wanted.flat_map(|(kind, ..)| (0..ROUNDS).map(move |round| key(kind, round))).collect();
    let text = |record: &Record| String::from_utf8_lossy(record.key.as_deref().expect("a key")).into_owned();
    assert_eq!(came.iter().map(text).collect::<BTreeSet<_>>(), wanted);
    assert_eq!(came.len(), wanted.len(), "none twice");
    let (all, out) = (records.len() as u64, wanted.len() as u64);
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dropped, totals.dead_lettered), (all, out, all - out, 0));
}
