//! When a batch is handed over: once it has as many records or bytes as it may, or its window has passed.

use std::time::Duration;
use tidemill_api::{ByteSize, Duration as Span};
use tidemill_e2e::{
    bed::numbered,
    runner::{Runner, trigger, with},
    scene::Scene,
};
use tidemill_runner::{config::Config, record::Record};
use tokio::time::sleep;

/// Longer than any test waits.
const FOR_EVER: Span = Span::from_secs(300);

/// A scene whose outputs tell the number of the event that they come from.
async fn scene(test: &str, batch: impl FnOnce(&mut tidemill_api::Batch)) -> (Scene, Config) {
    let scene = Scene::set(test, 1).await;
    let mut config = with(scene.config.clone(), "TELL_CONTEXT", "true");
    batch(&mut trigger(&mut config).batch);
    (scene, config)
}

/// How many records each event had, in the order of the events.
fn sizes(records: &[Record]) -> Vec<usize> {
    let event = |record: &Record| {
        let (_, value) = record.headers.iter().find(|(name, _)| name == "event").expect("the function tells it");
        let text = std::str::from_utf8(value.as_deref().expect("a value")).expect("text");
        text.parse::<usize>().expect("a number")
    };
    let mut sizes = Vec::new();
    for number in records.iter().map(event) {
        sizes.resize(sizes.len().max(number), 0);
        sizes[number - 1] += 1;
    }
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_begins_with_its_first_record_and_takes_those_that_come_meanwhile() {
    let window = Duration::from_secs(4);
    let (scene, config) = scene("window", |batch| batch.window = Span::from_secs(4)).await;
    let runner = Runner::start(&config);
    let records = numbered(30, 50, 1);
    // It is on an empty topic for longer than its window.
    sleep(window).await;
    // Without end, as seen from the first window: one that began anew with each would have them all.
    for record in records.chunks(1) {
        scene.bed.produce(&scene.input, record).await;
        sleep(window / 10).await;
    }
    let came = scene.outputs().await;
    let sizes = sizes(&came);
    assert!(sizes[0] > 1 && sizes.len() > 1, "some in the first event, and not all: {sizes:?}");
    let sent = scene.bed.records(&scene.input).await[0].timestamp;
    let waited = came[0].timestamp - sent;
    assert!(waited > 3_900, "the first record waited {waited} ms");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_does_not_wait_for_its_window_once_it_has_its_records() {
    let (scene, config) = scene("count", |batch| (batch.max_records, batch.window) = (4, FOR_EVER)).await;
    scene.bed.produce(&scene.input, &numbered(8, 50, 1)).await;
    let runner = Runner::start(&config);
    assert_eq!(sizes(&scene.outputs().await), [4, 4]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_once_it_has_its_bytes_in_which_keys_count() {
    let kilobyte: ByteSize = "1KiB".parse().expect("a size");
    let (scene, config) = scene("bytes", |batch| (batch.max_bytes, batch.window) = (kilobyte, FOR_EVER)).await;
    // Three values fit, and with their keys of 100 B two records do.
    let records: Vec<_> =
        numbered(7, 300, 1).into_iter().map(|record| Record { key: Some("k".repeat(100).into()), ..record }).collect();
    scene.bed.produce(&scene.input, &records).await;
    let runner = Runner::start(&config);
    // The last one waits for its window.
    assert_eq!(sizes(&scene.bed.records_when(&scene.output, 6).await), [2, 2, 2]);
    runner.stop().await;
}
