//! Records that a schema describes: written and read by Confluent's own clients, JSON in between.

use bytes::Bytes;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tidemill_api::{Backoff, Delivery, RecordPart};
use tidemill_e2e::{
    bed::{Bed, dead_letters},
    confluent::Confluent,
    kube::root,
    letter::{headers, reason},
    python,
    runner::{Runner, function, program, trigger},
};
use tidemill_runner::{
    config::{Config, RegistryAccess},
    record::Record,
};
use tidemill_schemas::Format;
use tokio::{net::TcpListener, task::spawn_blocking, time::sleep};

const TRADES: usize = 200;

/// A trade as `confluent.py` makes it.
fn trade(number: usize) -> Value {
    let side = ["BUY", "SELL"][number % 2];
    json!({
        "symbol": format!("S{}", number % 7), "quantity": number, "price": format!("{number}.25"),
        "side": side,
        "note": number.is_multiple_of(3).then(|| format!("note {number}")),
    })
}

/// A function in Python that answers what it gets.
async fn trades(bed: &Bed, registry: &str, topic: &str, output: &str) -> Config {
    let python = spawn_blocking(python::with_client).await.expect("it is installed").display().to_string();
    let mut config = function(bed, topic, Some(output), &[]);
    let folder = root().join("e2e/functions/python");
    config.code = program(&[&python, "-m", "awslambdaric", "trades.answer"], Some(&folder));
    config.plan.handler = "trades.answer".to_owned();
    config.access.registry = Some(RegistryAccess { url: registry.to_owned(), username: None });
    config
}

fn raw(key: Option<&str>, value: &[u8]) -> Record {
    Record {
        key: key.map(|key| key.to_owned().into()),
        value: Some(Bytes::copy_from_slice(value)),
        ..Record::default()
    }
}

async fn register(confluent: &Confluent, subject: &str, schema: Value) -> u32 {
    let url = format!("{}/subjects/{subject}/versions", confluent.registry);
    let answer = reqwest::Client::new().post(url).json(&schema).send().await.expect("the registry answers");
    let answer: Value = answer.json().await.expect("JSON");
    u32::try_from(answer["id"].as_u64().unwrap_or_else(|| panic!("no id: {answer}"))).expect("an id")
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_confluents_clients_write_is_json_and_what_is_answered_they_read() {
    let bed = Bed::start("schemas").await;
    let confluent = &Confluent::start(&bed).await;
    for (format, delivery) in [
        (Format::Avro, Delivery::AtLeastOnce),
        (Format::Avro, Delivery::ExactlyOnce),
        (Format::Protobuf, Delivery::AtLeastOnce),
        (Format::Json, Delivery::AtLeastOnce),
    ] {
        let name = format!("{format}.{delivery:?}").to_lowercase();
        let input = bed.topic(&name, 2, &[]).await;
        let output = bed.topic(&format!("{name}.out"), 2, &[]).await;
        confluent.register(&output, format).await;
        confluent.produce(&input, format, TRADES).await;
        let mut config = trades(&bed, &confluent.registry, &input, &output).await;
        config.plan.output.as_mut().expect("an output").delivery = delivery;
        // The filter sees what was decoded.
        trigger(&mut config).filter = vec![json!({"value": {"side": ["BUY"]}})];
        let runner = Runner::start(&config);
        bed.drained(&input, &input).await;
        let totals = runner.stop().await;
        let half = TRADES as u64 / 2;
        assert_eq!((totals.r#in, totals.out, totals.dropped), (2 * half, half, half), "{name}");

        let mut read = confluent.consume(&output, format, TRADES / 2).await;
        read.sort_by_key(|trade| trade["quantity"].as_u64());
        let expected: Vec<_> = (0..TRADES).step_by(2).map(trade).collect();
        assert_eq!(read, expected, "{name}");
        for record in bed.records(&output).await {
            assert_eq!(headers(&record)["value-dataFormat"], format.to_string());
            assert!(headers(&record)["value-schemaId"].parse::<u32>().expect("an id") > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decoded_goes_to_the_failure_destination_and_holds_nothing_up() {
    let bed = Bed::start("undecodable").await;
    let confluent = &Confluent::start(&bed).await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    let id = register(confluent, &format!("{input}-value"), json!({"schema": r#"{"type": "long"}"#})).await;
    let unknown = framed(999_999_999, b"\x02");
    let records = [
        raw(Some("good"), &framed(id, b"\x02")),
        raw(Some("unknown"), &unknown),
        raw(Some("cut"), &framed(id, b"\x80")),
        raw(Some("longer"), &framed(id, b"\x02\x02")),
        raw(Some("plain"), br#"{"no": "schema"}"#),
        raw(Some("unknown too"), &unknown),
        Record { key: Some("tombstone".into()), ..Record::default() },
        raw(Some("last"), &framed(id, b"\x04")),
    ];
    bed.produce(&input, &records).await;
    let mut config = trades(&bed, &confluent.registry, &input, &output).await;
    // The function does not know what to do with a tombstone.
    trigger(&mut config).filter = vec![json!({"key": [{"anything-but": "tombstone"}]})];
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let came: BTreeMap<_, _> =
        bed.records(&output).await.into_iter().map(|record| (text(record.key), text(record.value))).collect();
    let expected = [("good", "1"), ("last", "2"), ("plain", r#"{"no": "schema"}"#)];
    assert_eq!(came, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let letters = bed.records(&dead_letters(&input)).await;
    let told: BTreeMap<_, _> = letters
        .iter()
        .map(|letter| {
            (text(letter.key.clone()), (reason(letter), headers(letter)["attempts"].clone(), letter.value.clone()))
        })
        .collect();
    assert_eq!(told.keys().collect::<Vec<_>>(), ["cut", "longer", "unknown", "unknown too"]);
    let check = |key: &str, kind: &str, words: &str, attempts: &str, value: &[u8]| {
        let ((told_kind, message), told_attempts, kept) = &told[key];
        assert_eq!((told_kind.as_str(), told_attempts.as_str()), (kind, attempts), "{key}: {message}");
        assert!(message.contains(words), "{key}: {message}");
        assert_eq!(kept.as_deref(), Some(value), "{key} is kept as it came");
    };
    check("unknown", "SchemaNotFound", "has no schema with the id 999999999", "2", &unknown);
    // That it is not there is known by then.
    check("unknown too", "SchemaNotFound", "has no schema with the id 999999999", "1", &unknown);
    check("cut", "Undecodable", &format!("the value cannot be decoded by schema {id}"), "1", &framed(id, b"\x80"));
    check("longer", "Undecodable", "1 bytes are left behind the value", "1", &framed(id, b"\x02\x02"));
    assert_eq!(runner.stop().await.dead_lettered, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_is_waited_for_and_then_given_up() {
    let bed = Bed::start("registry-away").await;
    let confluent = &Confluent::start(&bed).await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    let id = register(confluent, &format!("{input}-value"), json!({"schema": r#"{"type": "long"}"#})).await;
    // Nobody listens there, until somebody does.
    let address = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let url = format!("http://{address}/apis/ccompat/v7");
    let mut config = trades(&bed, &url, &input, &output).await;

    bed.produce(&input, &[raw(Some("given up"), &framed(id, b"\x02"))]).await;
    let runner = Runner::start(&config);
    bed.drained(&input, &input).await;
    let letters = bed.records(&dead_letters(&input)).await;
    let (kind, message) = reason(&letters[0]);
    assert_eq!((kind.as_str(), letters.len()), ("SchemaRegistryUnavailable", 1));
    assert!(message.contains(&format!("the schema registry {url} does not answer: ")), "{message}");
    runner.stop().await;

    let once = tidemill_api::Duration::from_millis(500);
    config.plan.retry.attempts = 100;
    config.plan.retry.backoff = Backoff { initial: once, max: once };
    bed.produce(&input, &[raw(Some("waits"), &framed(id, b"\x04"))]).await;
    let runner = Runner::start(&config);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(bed.records(&output).await.len(), 0);
    assert_eq!(bed.lag(&input, &input).await, 1);
    let listener = TcpListener::bind(address).await.expect("the port is free still");
    let behind = confluent.registry.split('/').nth(2).expect("host and port").to_owned();
    let forwarding = tokio::spawn(forward(listener, behind));
    bed.drained(&input, &input).await;
    let came = bed.records(&output).await;
    assert_eq!(
        came.into_iter().map(|record| (text(record.key), text(record.value))).collect::<Vec<_>>(),
        [("waits".to_owned(), "2".to_owned())]
    );
    // What it knows it need not ask for.
    forwarding.abort();
    bed.produce(&input, &[raw(Some("known"), &framed(id, b"\x06"))]).await;
    assert_eq!(bed.records_when(&output, 2).await.len(), 2);
    assert_eq!(runner.stop().await.dead_lettered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_have_schemas_too_and_numbers_are_not_taken_for_them() {
    let bed = Bed::start("schema-keys").await;
    let confluent = &Confluent::start(&bed).await;
    // The key of an eight byte number looks like that of schema 1.
    let number = (1_u64 << 24).to_be_bytes();
    let long = json!({"schema": r#"{"type": "long"}"#});
    for (name, known, decode) in [
        ("keys", true, vec![RecordPart::Key, RecordPart::Value]),
        ("numbers", false, vec![RecordPart::Key, RecordPart::Value]),
        ("left", true, vec![]),
    ] {
        let (input, output) = (bed.topic(name, 1, &[]).await, bed.topic(&format!("{name}.out"), 1, &[]).await);
        let id = register(confluent, &format!("{input}-value"), long.clone()).await;
        let mut key = number.to_vec();
        if known {
            key = framed(register(confluent, &format!("{input}-key"), long.clone()).await, b"\x0e");
            register(confluent, &format!("{output}-key"), long.clone()).await;
        }
        bed.produce(&input, &[Record { key: Some(key.clone().into()), ..raw(None, &framed(id, b"\x02")) }]).await;
        let mut config = trades(&bed, &confluent.registry, &input, &output).await;
        let decodes = !decode.is_empty();
        trigger(&mut config).decode = decode;
        if !decodes {
            config.plan.output = None;
        }
        let runner = Runner::start(&config);
        bed.drained(&input, &input).await;
        if decodes {
            let came = bed.records(&output).await.remove(0);
            let told = headers(&came);
            assert_eq!(
                (told.contains_key("key-schemaId"), told.contains_key("value-schemaId")),
                (known, true),
                "{name}"
            );
            // Where the topic's keys have a schema the answer's is encoded by it again; else it is text.
            let text = String::from_utf8(
                number.iter().map(|byte| char::from(*byte).to_string()).collect::<String>().into_bytes(),
            );
            let expected = if known { key } else { text.expect("text").into_bytes() };
            assert_eq!(came.key.as_deref(), Some(&*expected), "{name}");
        }
        let totals = runner.stop().await;
        assert_eq!((totals.r#in, totals.dead_lettered), (1, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_its_schema_does_not_describe_fails_with_the_fields_name() {
    let bed = Bed::start("schema-output").await;
    let confluent = &Confluent::start(&bed).await;
    let (input, output) = (bed.topic("in", 1, &[]).await, bed.topic("out", 1, &[]).await);
    confluent.register(&output, Format::Avro).await;
    let mut wrong = trade(3);
    wrong["price"] = json!("1.234");
    let records = [trade(1), wrong, trade(2)].map(|trade| raw(None, trade.to_string().as_bytes()));
    bed.produce(&input, &records).await;
    let runner = Runner::start(&trades(&bed, &confluent.registry, &input, &output).await);
    bed.drained(&input, &input).await;
    assert_eq!(confluent.consume(&output, Format::Avro, 2).await, [trade(1), trade(2)]);
    let letters = bed.records(&dead_letters(&input)).await;
    let (kind, message) = reason(&letters[0]);
    assert_eq!((kind.as_str(), letters.len()), ("InvalidAnswer", 1));
    let expected = format!(
        "the value of record 0 is not what the schema of topic `{output}` describes: price: 1.234 has more than 2 places"
    );
    assert_eq!(message, expected);
    runner.stop().await;
}

fn text(bytes: Option<Bytes>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// What comes is passed on.
async fn forward(listener: TcpListener, behind: String) {
    loop {
        let (mut near, _) = listener.accept().await.expect("a connection");
        let behind = behind.clone();
        tokio::spawn(async move {
            let mut far = tokio::net::TcpStream::connect(behind).await.expect("the registry listens");
            drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
        });
    }
}
