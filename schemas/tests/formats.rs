//! What values look like in JSON, and what is said of those that a schema does not describe.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill_schemas::{Format, Reference, Schema, wire};

fn compile(format: Format, text: &str, references: &[(&str, &str)]) -> Schema {
    let references: Vec<_> = references
        .iter()
        .map(|(name, text)| Reference { name: (*name).to_owned(), text: (*text).to_owned() })
        .collect();
    Schema::compile(7, format, text, &references).expect("a schema")
}

fn decode(schema: &Schema, body: &[u8]) -> Result<Value, String> {
    let json = schema.decode(body).map_err(|error| error.to_string())?;
    Ok(serde_json::from_slice(&json).expect("JSON"))
}

/// There and back again.
fn same(schema: &Schema, value: &Value) {
    let bytes = schema.encode(value).unwrap_or_else(|error| panic!("{value}: {error}"));
    let (id, body) = wire::split(&bytes).expect("the wire format");
    assert_eq!(id, 7);
    assert_eq!(decode(schema, body).as_ref(), Ok(value));
}

fn refused(schema: &Schema, value: &Value, words: &str) {
    let error = schema.encode(value).expect_err(&value.to_string()).to_string();
    assert!(error.contains(words), "{value}: {error}");
}

const TICK: &str = r#"{"type": "record", "name": "Tick", "namespace": "market", "fields": [
    {"name": "symbol", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 4}},
    {"name": "volume", "type": ["null", "long", "double"], "default": null},
    {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}, "default": "BUY"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
    {"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}},
    {"name": "raw", "type": ["null", "bytes"], "default": null},
    {"name": "hash", "type": ["null", {"type": "fixed", "name": "Hash", "size": 4}], "default": null},
    {"name": "ratio", "type": "float", "default": 0.5},
    {"name": "other", "type": {"type": "array", "items": "market.Side"}, "default": []}
]}"#;

#[test]
fn avro_is_as_one_would_write_it() {
    let schema = compile(Format::Avro, TICK, &[]);
    same(
        &schema,
        &json!({
            "symbol": "BTC", "price": "64000.1250", "volume": 12, "side": "SELL", "at": 1_700_000_000_123_i64,
            "tags": {"a": "b"}, "raw": "AP8=", "hash": "AAECAw==", "ratio": 0.1, "other": ["BUY", "SELL"],
        }),
    );
    // What is left out is the default.
    for (value, symbol, price) in [
        (json!({"symbol": "ETH", "price": 3000}), "ETH", "3000.0000"),
        (json!({"symbol": "", "price": "0.0000", "volume": null, "tags": {}}), "", "0.0000"),
    ] {
        let bytes = schema.encode(&value).expect("defaults");
        let expected = json!({
            "symbol": symbol, "price": price, "volume": null, "side": "BUY", "at": 0, "tags": {}, "raw": null,
            "hash": null, "ratio": 0.5, "other": [],
        });
        assert_eq!(decode(&schema, &bytes[5..]), Ok(expected));
    }
    // A union takes the first type that fits.
    for (volume, expected) in [(json!(1.5), json!(1.5)), (json!(-3), json!(-3)), (json!("NaN"), json!("NaN"))] {
        let bytes = schema.encode(&json!({"symbol": "X", "price": "1", "volume": volume})).expect("a union");
        assert_eq!(decode(&schema, &bytes[5..]).expect("JSON")["volume"], expected);
    }
}

#[test]
fn what_avro_does_not_describe_is_named() {
    let schema = compile(Format::Avro, TICK, &[]);
    let cases = [
        (json!({"price": "1"}), "symbol: missing"),
        (json!({"symbol": 7, "price": "1"}), "symbol: a text expected, a number found"),
        (json!({"symbol": "X", "price": "1.23456"}), "price: 1.23456 has more than 4 places"),
        (json!({"symbol": "X", "price": "123456789.0"}), "has more than 12 digits"),
        (json!({"symbol": "X", "price": "1e999999999"}), "price: a number expected"),
        (json!({"symbol": "X", "price": "1", "side": "HOLD"}), "side: `HOLD` is none of BUY, SELL"),
        (json!({"symbol": "X", "price": "1", "hash": "AAE="}), "hash: 4 bytes expected, 2 found"),
        (json!({"symbol": "X", "price": "1", "raw": "%"}), "raw: base64 expected"),
        (json!({"symbol": "X", "price": "1", "volumes": 1}), "no field `volumes`"),
        (json!([1]), "an object expected, a list found"),
    ];
    for (value, words) in cases {
        refused(&schema, &value, words);
    }
    let whole =
        schema.encode(&json!({"symbol": "X", "price": "1", "tags": {"a": "b"}, "raw": "AP8="})).expect("a value");
    for end in 5..whole.len() {
        assert!(decode(&schema, &whole[5..end]).is_err(), "cut off after {end} bytes");
    }
    let longer = [&whole[5..], b"rest"].concat();
    assert_eq!(decode(&schema, &longer), Err("4 bytes are left behind the value".to_owned()));
}

#[test]
fn avro_makes_no_room_for_what_is_not_there() {
    let nulls = compile(Format::Avro, r#"{"type": "array", "items": "null"}"#, &[]);
    assert_eq!(decode(&nulls, &[6, 0]), Ok(json!([null, null, null])));
    // Ten bytes that say 60 million.
    assert_eq!(decode(&nulls, &[0x80, 0x9c, 0x9c, 0x39, 0]), Err("the value has too many parts".to_owned()));
    let fixed = compile(Format::Avro, r#"{"type": "fixed", "name": "Huge", "size": 4000000000000}"#, &[]);
    assert_eq!(decode(&fixed, b"four"), Err("the bytes end within the value".to_owned()));
    let places = r#"{"type": "bytes", "logicalType": "decimal", "precision": 400000000, "scale": 300000000}"#;
    let places = compile(Format::Avro, places, &[]);
    assert_eq!(decode(&places, &[2, 1]), Err("a decimal of 300000000 places is above 1000".to_owned()));
    // Each record has the one before twice: as many ways through it as there are atoms.
    let fields =
        |before: usize| format!(r#"{{"name": "a", "type": "R{before}"}}, {{"name": "b", "type": "R{before}"}}"#);
    let record =
        |number: usize, fields: &str| format!(r#"{{"type": "record", "name": "R{number}", "fields": [{fields}]}}"#);
    let references: Vec<_> =
        (1..60).map(|number| (format!("R{number}"), record(number, &fields(number - 1)))).collect();
    let first = ("R0".to_owned(), record(0, r#"{"name": "a", "type": "null"}"#));
    let references: Vec<_> =
        references.iter().chain([&first]).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let schema = compile(Format::Avro, &record(60, &fields(59)), &references);
    assert_eq!(decode(&schema, b""), Err("the value has too many parts".to_owned()));
}

#[test]
fn avro_refers_to_other_schemas() {
    let side = r#"{"type": "enum", "name": "Side", "namespace": "market", "symbols": ["BUY", "SELL"]}"#;
    let order = r#"{"type": "record", "name": "Order", "namespace": "market", "fields": [
        {"name": "side", "type": "market.Side"}, {"name": "sides", "type": {"type": "array", "items": "Side"}}]}"#;
    let schema = compile(Format::Avro, order, &[("market.Side", side)]);
    same(&schema, &json!({"side": "SELL", "sides": ["BUY"]}));
    assert!(Schema::compile(1, Format::Avro, order, &[]).is_err(), "what it refers to is missing");
}

#[test]
fn an_avro_value_may_be_deep_but_not_as_deep_as_it_likes() {
    let schema = compile(
        Format::Avro,
        r#"{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}"#,
        &[],
    );
    same(&schema, &json!({"next": {"next": {"next": null}}}));
    let deep = |levels: usize| [vec![2; levels], vec![0]].concat();
    assert!(decode(&schema, &deep(99)).is_ok());
    for levels in [101, 5_000, 3_000_000] {
        assert_eq!(decode(&schema, &deep(levels)), Err("the value is nested deeper than 100".to_owned()), "{levels}");
    }
    assert_eq!(decode(&schema, &[2, 2, 4]), Err("the union has no type 2".to_owned()));
    let list =
        r#"{"type": "record", "name": "L", "fields": [{"name": "all", "type": {"type": "array", "items": "L"}}]}"#;
    let schema = compile(Format::Avro, list, &[]);
    same(&schema, &json!({"all": [{"all": []}, {"all": [{"all": []}]}]}));
    // A list of 2^62 that are not there.
    assert!(decode(&schema, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
}

const TRADE: &str = r#"
    syntax = "proto3";
    package market;
    import "google/protobuf/timestamp.proto";
    import "common/decimal.proto";
    message Trade {
        string symbol = 1;
        int64 quantity = 2;
        common.Decimal price = 3;
        google.protobuf.Timestamp traded_at = 4;
        Side side = 5;
        map<string, string> tags = 6;
        bytes raw = 7;
        enum Side { SIDE_UNKNOWN = 0; SIDE_BUY = 1; }
        message Leg { string symbol = 1; message Note { string text = 1; } }
    }
    message Quote { string symbol = 1; }"#;
const DECIMAL: &str = r#"syntax = "proto3"; package common; message Decimal { string value = 1; int32 scale = 2; }"#;

#[test]
fn protobuf_is_protos_json() {
    let schema = compile(Format::Protobuf, TRADE, &[("common/decimal.proto", DECIMAL)]);
    let trade = json!({
        "symbol": "BTC", "quantity": "12", "price": {"value": "641", "scale": 2}, "tradedAt": "2026-01-02T03:04:05Z",
        "side": "SIDE_BUY", "tags": {"a": "b"}, "raw": "AP8=",
    });
    same(&schema, &trade);
    // Names as they are declared, and numbers, are understood as well.
    let bytes = schema.encode(&json!({"quantity": 12, "traded_at": "2026-01-02T03:04:05Z"})).expect("a message");
    assert_eq!(decode(&schema, &bytes[5..]), Ok(json!({"quantity": "12", "tradedAt": "2026-01-02T03:04:05Z"})));
    assert!(Schema::compile(1, Format::Protobuf, TRADE, &[]).is_err(), "an import is missing");
}

#[test]
fn protobuf_says_which_message_it_is() {
    let schema = compile(Format::Protobuf, TRADE, &[("common/decimal.proto", DECIMAL)]);
    let symbol = b"\x0a\x01X";
    let text = b"\x0a\x01X";
    let cases: [(&[u8], Result<Value, &str>); 8] = [
        (&[0], Ok(json!({"symbol": "X"}))),
        (&[2, 0], Ok(json!({"symbol": "X"}))),
        (&[2, 2], Ok(json!({"symbol": "X"}))),
        (&[4, 0, 0], Ok(json!({"symbol": "X"}))),
        (&[6, 0, 0, 0], Ok(json!({"text": "X"}))),
        (&[2, 4], Err("the schema has no message at [2]")),
        (&[2, 1], Err("-1 is no message's place")),
        (&[200, 1], Err("a message 100 messages deep is not looked for")),
    ];
    for (head, expected) in cases {
        let body = [head, if head.len() == 4 { text } else { symbol }].concat();
        assert_eq!(decode(&schema, &body), expected.map_err(str::to_owned), "{head:?}");
    }
    assert!(decode(&schema, b"").is_err());
    assert!(decode(&schema, &[0, 0x0a, 9, b'X']).is_err(), "cut off");
    refused(&schema, &json!({"symbols": "X"}), "symbols");
    refused(&schema, &json!({"quantity": "many"}), "quantity: invalid digit");
}

#[test]
fn protobuf_does_not_nest_as_deep_as_it_likes() {
    let wrap =
        r#"syntax = "proto3"; import "google/protobuf/any.proto"; message Wrap { google.protobuf.Any any = 1; }"#;
    let schema = compile(Format::Protobuf, wrap, &[]);
    let field = |number: u8, bytes: &[u8]| {
        let mut all = vec![number << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut all);
        all.extend_from_slice(bytes);
        all
    };
    let deep = |levels: usize| {
        let name = field(1, b"type.googleapis.com/Wrap");
        (0..levels).fold(Vec::new(), |inner, _| field(1, &[name.clone(), field(2, &inner)].concat()))
    };
    assert!(decode(&schema, &[&[0], &deep(10)[..]].concat()).is_ok());
    for levels in [200, 8_000] {
        assert!(decode(&schema, &[&[0], &deep(levels)[..]].concat()).is_err(), "{levels}");
    }
}

#[test]
fn a_json_schema_sends_nobody_anywhere() {
    let file = std::env::temp_dir().join("tidemill-schema-elsewhere.json");
    std::fs::write(&file, r#"{"type": "integer"}"#).expect("a file");
    for elsewhere in [format!("file://{}", file.display()), "http://127.0.0.1:9/schema.json".to_owned()] {
        let text = json!({"$ref": elsewhere}).to_string();
        let error = Schema::compile(1, Format::Json, &text, &[]).expect_err("it is refused").to_string();
        assert!(error.contains("is not among the schema's references"), "{error}");
    }
}

#[test]
fn json_is_checked_and_stays_as_it_is() {
    let side = r#"{"type": "string", "enum": ["BUY", "SELL"]}"#;
    let order = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["id"],
        "properties": {"id": {"type": "integer"}, "side": {"$ref": "side.json"}}, "additionalProperties": false}"#;
    let schema = compile(Format::Json, order, &[("side.json", side)]);
    same(&schema, &json!({"id": 1, "side": "BUY"}));
    assert_eq!(schema.decode(b"{ \"id\": 1 }").as_deref(), Ok(&b"{ \"id\": 1 }"[..]));
    for (value, words) in [
        (json!({}), "\"id\" is a required property"),
        (json!({"id": "1"}), "/id: value is not of type \"integer\""),
        (json!({"id": 1, "side": "HOLD"}), "/side: "),
        (json!({"id": 1, "more": 1}), "more"),
    ] {
        refused(&schema, &value, words);
        let error = decode(&schema, value.to_string().as_bytes()).expect_err("it is refused");
        assert!(error.contains(words), "{value}: {error}");
    }
    assert!(decode(&schema, b"{\"id\":").is_err());
    assert!(Schema::compile(1, Format::Json, order, &[]).is_err(), "what it refers to is missing");
}

fn names() -> impl Strategy<Value = String> {
    "[a-z]{1,8}"
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        symbol in ".{0,20}",
        units in -999_999_999_999_i64..999_999_999_999,
        volume in prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), (-1e9..1e9_f64).prop_map(Value::from)],
        tags in proptest::collection::btree_map(names(), ".{0,9}", 0..4),
    ) {
        let schema = compile(Format::Avro, TICK, &[]);
        let sign = if units < 0 { "-" } else { "" };
        let price = format!("{sign}{}.{:04}", units.abs() / 10_000, units.abs() % 10_000);
        let value = json!({"symbol": symbol, "price": price, "volume": volume, "tags": tags});
        let bytes = schema.encode(&value).expect("a value");
        let back = decode(&schema, &bytes[5..]).expect("the same");
        for field in ["symbol", "price", "volume", "tags"] {
            prop_assert_eq!(&back[field], &value[field]);
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let avro = compile(Format::Avro, TICK, &[]);
        let protobuf = compile(Format::Protobuf, TRADE, &[("common/decimal.proto", DECIMAL)]);
        for schema in [avro, protobuf] {
            if let Ok(json) = schema.decode(&bytes) {
                prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
            }
        }
    }
}
