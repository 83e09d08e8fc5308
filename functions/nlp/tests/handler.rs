//! The whole function: a batch in, enriched articles and failures out.

use nlp::handler::handle;
use serde_json::json;
use tidemill_contract::testing::kafka_event;

fn article(title: &str, body: &str) -> String {
    json!({"eventId": "e", "articleId": "id1", "url": "http://a.example/x", "title": title,
        "body": body, "source": "s", "publishedAt": "2026-01-01T00:00:00Z", "symbols": ["XRP"],
        "language": "en", "nearDuplicateOf": "id0"})
    .to_string()
}

#[test]
fn articles_are_enriched_and_bad_records_fail_alone() {
    let good = article("Bitcoin surges to a record", "BTC rallied 9% after a strong quarter.");
    let empty = article("t", " ");
    let event = kafka_event("normalized-articles", 1, 3, &[Some(&good), Some(&empty), None]);
    let answer = handle(event).expect("an answer");
    assert_eq!(answer.records.len(), 1);
    let record = &answer.records[0];
    assert_eq!(record.key, "id1");
    assert_eq!(record.value["symbols"], json!(["XRP", "BTC"]));
    assert_eq!(record.value["sentiment"]["label"], "bullish");
    assert_eq!(record.value["nearDuplicateOf"], "id0");
    assert_eq!(record.value["title"], "Bitcoin surges to a record");
    let entities = &record.value["entities"];
    assert_eq!(entities[0], json!({"text": "BTC", "kind": "ticker", "start": 0, "end": 3}));
    assert_eq!(entities[1], json!({"text": "9%", "kind": "percent", "start": 12, "end": 14}));
    let failed: Vec<_> = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.offset).collect();
    assert_eq!(failed, [4, 5]);
    assert!(answer.batch_item_failures[0].error_message.contains("body"));
}
