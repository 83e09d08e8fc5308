//! Input that cannot be processed, through the real `normalize` and on real Kafka, Redis and S3:
//! dead letters with a reason, and nothing stalls behind them.

use serde_json::json;
use tidemill_api::ByteSize;
use tidemill_e2e::{
    bed::{Bed, dead_letters, numbered, text, value},
    letter::{headers, reason},
    runner::{Runner, echo, function, trigger, with},
    tally::Tally,
    wait::{PATIENCE, until},
};
use tidemill_embedded::s3::{ACCESS_KEY, SECRET_KEY};
use tidemill_runner::record::Record;
use tidemill_testbed::{programs, redis, s3};

/// An `ArticleCrawledEvent`.
fn page(url: &str, html: &str) -> Record {
    let event = json!({
        "eventId": "6f1c7f5e-1c0b-4a52-9d4f-1f1f5d8c7a11", "url": url, "title": "", "rawHtml": html,
        "source": "e2e", "crawledAt": "2026-01-01T00:00:00Z", "metadata": {},
    });
    text(event.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_normalize_cannot_read_goes_to_the_dead_letters() {
    let bed = Bed::start("normalize").await;
    let input = bed.topic("raw-articles", 1, &[]).await;
    let output = bed.topic("normalized-articles", 1, &[]).await;
    let body = "The harbour opened its new basin this morning, and the first ships were in by noon. ".repeat(8);
    let html = format!("<html><body><article><h1>Harbour opens</h1><p>{body}</p></article></body></html>");
    let url = format!("https://news.example/{}", bed.unique("harbour"));
    let cases = [
        (page(&url, &html), None),
        (text(""), Some(("MalformedEvent", "empty"))),
        (Record::default(), Some(("MalformedEvent", "null"))),
        (text(r#"{"eventId": "#), Some(("MalformedEvent", "EOF"))),
        (text(r#"{"eventId": "x"}"#), Some(("MalformedEvent", "missing field"))),
        (page(&url, "%PDF-1.7 \u{1}\u{2}"), Some(("NotHtml", ""))),
        (page(&url, &"x".repeat(70_000)), Some(("PayloadTooLarge", "above batch.maxBytes"))),
    ];
    let records: Vec<_> = cases.iter().map(|(record, _)| record.clone()).collect();
    bed.produce(&input, &records).await;

    let normalize = programs::own("normalize").expect("normalize is built").display().to_string();
    let mut config = function(&bed, &input, Some(&output), &[&normalize]);
    trigger(&mut config).batch.max_bytes = "64KiB".parse::<ByteSize>().expect("a size");
    let (redis, s3) = (redis::start().expect("Redis starts"), s3::start().expect("S3 starts"));
    let config = with(config, "REDIS_URL", &format!("redis://{}/", redis.address));
    let config = with(config, "AWS_ENDPOINT_URL_S3", &format!("http://{}", s3.address));
    let config = with(config, "AWS_ACCESS_KEY_ID", ACCESS_KEY);
    let config = with(config, "AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let config = with(config, "ARCHIVE_BUCKET", "e2e-articles");
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;

    let letters = bed.records(&dead_letters(&input)).await;
    for (offset, (record, expected)) in cases.iter().enumerate() {
        let letter = letters.iter().find(|letter| headers(letter)["original-offset"] == offset.to_string());
        match (letter, expected) {
            (None, None) => {}
            (Some(letter), Some((kind, words))) => {
                let (is, message) = reason(letter);
                assert_eq!(is, *kind, "record {offset}: {message}");
                assert!(message.contains(words) && !message.is_empty(), "record {offset}: {message}");
                assert_eq!(letter.value, record.value, "record {offset}");
            }
            (letter, _) => panic!("record {offset}: {letter:?}"),
        }
    }
    assert_eq!(letters.len(), cases.len() - 1);
    let articles = bed.records(&output).await;
    assert_eq!(articles.len(), 1);
    let article: serde_json::Value =
        serde_json::from_slice(articles[0].value.as_deref().expect("a value")).expect("JSON");
    assert!(article["body"].as_str().is_some_and(|text| text.contains("first ships were in by noon")), "{article}");
    let totals = runner.stop().await;
    assert_eq!((totals.r#in, totals.out, totals.dead_lettered), (7, 1, 6));
}

/// 10 MiB in the middle of small records of its partition and of another.
fn with_a_giant() -> Vec<Record> {
    let mut records = numbered(201, 200, 2);
    records[100].value = Some(value(100, 10 << 20).into());
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_mebibytes_end_in_the_dead_letters_and_stall_nothing() {
    let bed = Bed::start("giant").await;
    let input = bed.topic("in", 2, &[("max.message.bytes", "12582912")]).await;
    let output = bed.topic("out", 2, &[]).await;
    let records = with_a_giant();
    bed.produce(&input, &records).await;
    let runner = Runner::start(&echo(&bed, &input, Some(&output)));
    bed.drained(&input, &input).await;
    let tally = Tally::of(&bed.records(&output).await, records.len());
    assert_eq!(tally, Tally { lost: 1, repeated: 0, records: 200 });
    let letters = bed.records(&dead_letters(&input)).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].value == records[100].value, "the letter is the record, byte for byte");
    assert_eq!(reason(&letters[0]).0, "PayloadTooLarge");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_its_topic_refuses_holds_its_partition_until_it_fits() {
    let bed = Bed::start("refused").await;
    let input = bed.unique("in");
    bed.make(&input, 2, &[("max.message.bytes", "12582912")]).await;
    bed.make(&dead_letters(&input), 2, &[]).await;
    let output = bed.topic("out", 2, &[]).await;
    let records = with_a_giant();
    bed.produce(&input, &records).await;
    let mut runner = Runner::start(&echo(&bed, &input, Some(&output)));
    until("the partition to be held", PATIENCE, async || {
        let (_, metrics) = runner.admin("/metrics").await;
        metrics.contains("tidemill_runner_partition_holds_total 1").then_some(())
    })
    .await;
    // 50 records are before the giant, 100 are in the other partition; those behind it wait.
    runner.report("the records not behind it", |report| report.totals.r#in >= 150).await;
    let tally = Tally::of(&bed.records(&output).await, records.len());
    assert_eq!(tally, Tally { lost: 51, repeated: 0, records: 150 });
    assert_eq!(bed.records(&dead_letters(&input)).await, []);

    bed.configure(&dead_letters(&input), "max.message.bytes", "12582912").await;
    bed.drained(&input, &input).await;
    let tally = Tally::of(&bed.records(&output).await, records.len());
    assert_eq!(tally, Tally { lost: 1, repeated: 0, records: 200 });
    let letters = bed.records(&dead_letters(&input)).await;
    assert!(letters.len() == 1 && letters[0].value == records[100].value, "the letter is the record");
    runner.stop().await;
}
