//! Records of every kind, as others produce them: each codec, headers without a value, tombstones.
//! What a function sees, what comes out, and what a dead letter keeps.

use std::fs;
use tidemill_e2e::{
    bed::{Bed, dead_letters},
    runner::{Runner, echo, with},
    tally::Tally,
};
use tidemill_runner::record::Record;
use tidemill_testbed::kafka::{Cluster, Size};

const RECORDS: usize = 1_000;
/// A record batch's attributes: <https://kafka.apache.org/documentation/#recordbatch>.
const ATTRIBUTES: usize = 21;

fn record(key: Option<&'static str>, value: Option<&'static str>) -> Record {
    Record { key: key.map(Into::into), value: value.map(Into::into), ..Record::default() }
}

fn header(name: &str, value: Option<&str>) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), value.map(|text| text.as_bytes().to_vec()))
}

/// The codec of the first batch in the topic's partition 0, as the broker's disk has it.
fn codec_on_disk(topic: &str) -> u8 {
    let kafka = Cluster::new(Size::One).expect("the cache folder is known");
    let log = kafka.brokers()[0].folder().join(format!("data/{topic}-0/00000000000000000000.log"));
    let batches = fs::read(log).expect("the partition's log is there");
    let attributes = u16::from_be_bytes([batches[ATTRIBUTES], batches[ATTRIBUTES + 1]]);
    (attributes & 0b111) as u8
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_codec_is_read() {
    let bed = Bed::start("codecs").await;
    // What does not get smaller is sent as it is: these do.
    let value = |number: usize| format!("{number:07} {}", "the tide comes in, ".repeat(20));
    let records: Vec<_> = (0..RECORDS)
        .map(|number| Record {
            partition: (number % 2) as i32,
            key: Some(number.to_string().into()),
            value: Some(value(number).into()),
            ..Record::default()
        })
        .collect();
    for (codec, id) in [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)] {
        let (input, output) = (bed.topic(codec, 2, &[]).await, bed.topic(&format!("{codec}.out"), 2, &[]).await);
        let producer = bed.connection.producer_config().set("compression.type", codec).create();
        bed.produce_with(&producer.expect("librdkafka has the codec"), &input, &records).await;
        assert_eq!(codec_on_disk(&input), id, "{codec}");
        let runner = Runner::start(&echo(&bed, &input, Some(&output)));
        bed.drained(&input, &input).await;
        let came = bed.records(&output).await;
        Tally::of(&came, RECORDS).exactly_once();
        for record in came {
            let number: usize = String::from_utf8_lossy(&record.key.expect("a key")).parse().expect("a number");
            assert_eq!(record.value, Some(value(number).into()), "{codec}");
        }
        runner.stop().await;
    }
}

/// A function sees an absent header as an empty one, as Lambda has it; a dead letter keeps it absent,
/// and a name that is there twice, in its order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_go_through_a_function_and_into_dead_letters() {
    let bed = Bed::start("headers").await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    let headers = vec![
        header("trace", Some("t-1")),
        header("empty", Some("")),
        header("absent", None),
        header("ünïcode", Some("gezeitenmühle ≈")),
    ];
    let twice = vec![header("b", Some("1")), header("a", None), header("b", Some("2")), header("b", Some(""))];
    let bytes = vec![("bytes".to_owned(), Some(vec![0, 0x7f, 0x80, 0xff]))];
    let good = [
        Record { headers: headers.clone(), ..record(Some("some"), Some("good")) },
        record(Some("no headers"), Some("good")),
    ];
    let bad = [
        Record { headers: headers.clone(), ..record(Some("some"), Some("bad")) },
        Record { headers: twice, ..record(None, Some("bad")) },
        // The function answers text only, and fails on these.
        Record { headers: bytes, ..record(Some("bytes"), None) },
    ];
    bed.produce(&input, &[&good[..], &bad[..]].concat()).await;
    let config = with(with(echo(&bed, &input, Some(&output)), "HEADERS", "true"), "FAIL_ON", "bad");
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;

    let mut came = bed.records(&output).await;
    came.iter_mut().for_each(|record| record.headers.sort());
    let mut expected = headers;
    expected[2].1 = Some(Vec::new());
    expected.sort();
    let seen: Vec<_> = came.iter().map(|record| (record.key.as_deref(), record.headers.as_slice())).collect();
    assert_eq!(seen, [(Some(&b"some"[..]), expected.as_slice()), (Some(b"no headers"), &[])]);

    let letters = bed.records(&dead_letters(&input)).await;
    assert_eq!(letters.len(), bad.len());
    for (letter, record) in letters.iter().zip(&bad) {
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        assert_eq!(letter.headers[..record.headers.len()], record.headers, "before those that the runner adds");
        assert_eq!(letter.headers[record.headers.len()].0, "original-topic");
    }
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (5, 2, 3));
}

/// Kafka does not say what the bytes of a header's name are.
#[expect(unsafe_code, reason = "clients of other languages send what this one takes for text only")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_headers_name_that_is_no_text_stops_nobody() {
    let bed = Bed::start("names").await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    // SAFETY: it becomes a C string, and is never looked at as text.
    let name = unsafe { String::from_utf8_unchecked(vec![b'n', 0xff]) };
    let odd = Record { headers: vec![(name, Some(b"value".to_vec()))], ..record(Some("odd"), Some("value")) };
    bed.produce(&input, &[odd.clone(), record(Some("bad"), Some("bad")), odd]).await;
    let runner = Runner::start(&with(with(echo(&bed, &input, Some(&output)), "HEADERS", "true"), "FAIL_ON", "bad"));
    bed.drained(&input, &input).await;
    let came = bed.records(&output).await;
    assert_eq!(came.len(), 2);
    assert!(came.iter().all(|record| record.headers == [header("n\u{fffd}", Some("value"))]), "{came:?}");
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.dead_lettered), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_absent_and_what_is_empty_stay_different() {
    let bed = Bed::start("tombstones").await;
    let input = bed.topic("in", 1, &[]).await;
    let output = bed.topic("out", 1, &[("cleanup.policy", "compact")]).await;
    let keyed = [
        record(Some("gone"), None),
        record(Some("empty"), Some("")),
        record(Some(""), Some("an empty key")),
        record(Some(""), None),
        record(Some("there"), Some("value")),
    ];
    // A compacted topic refuses these for good.
    let keyless = [record(None, Some("no key")), record(None, None)];
    bed.produce(&input, &[&keyed[..], &keyless[..]].concat()).await;
    let runner = Runner::start(&echo(&bed, &input, Some(&output)));
    bed.drained(&input, &input).await;
    let parts = |records: &[Record]| -> Vec<_> {
        records.iter().map(|record| (record.key.clone(), record.value.clone())).collect()
    };
    assert_eq!(parts(&bed.records(&output).await), parts(&keyed));
    assert_eq!(parts(&bed.records(&dead_letters(&input)).await), parts(&keyless));
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (7, 5, 2));
}
