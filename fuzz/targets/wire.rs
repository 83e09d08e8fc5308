//! Values in Confluent's wire format: the id says by which of four schemas, the rest is the body.
//!
//! What is decoded is JSON, and what that is encoded to is decoded to the same.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use std::sync::LazyLock;
use tidemill_schemas::{Format, Schema, wire};

const AVRO: &str = r#"{"type": "record", "name": "Node", "fields": [
    {"name": "name", "type": "string"}, {"name": "raw", "type": "bytes"},
    {"name": "sum", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 3}},
    {"name": "one", "type": ["null", "int", "double", {"type": "fixed", "name": "Four", "size": 4}]},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
    {"name": "map", "type": {"type": "map", "values": "float"}},
    {"name": "none", "type": {"type": "array", "items": "null"}},
    {"name": "big", "type": ["null", {"type": "bytes", "logicalType": "big-decimal"}]},
    {"name": "next", "type": {"type": "array", "items": "Node"}}]}"#;
const FLAT: &str = r#"{"type": "record", "name": "Flat", "fields": [
    {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "for", "type": {"type": "fixed", "name": "For", "size": 12, "logicalType": "duration"}}]}"#;
const PROTOBUF: &str = r#"syntax = "proto3";
    import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/any.proto";
    message Node { string name = 1; repeated Node next = 2; map<int32, double> numbers = 3; bytes raw = 4;
        oneof one { int64 whole = 5; Kind kind = 6; } google.protobuf.Timestamp at = 7;
        google.protobuf.Struct any = 8; google.protobuf.Any wrapped = 9; repeated sint32 many = 10;
        enum Kind { UNKNOWN = 0; A = 1; } message Inner { fixed64 x = 1; } }"#;
const JSON: &str = r##"{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"pattern": "^x+$"}},
    "required": ["a"], "additionalProperties": {"$ref": "#"}}"##;

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let all = [(Format::Avro, AVRO), (Format::Avro, FLAT), (Format::Protobuf, PROTOBUF), (Format::Json, JSON)];
    let compile = |(id, (format, text))| Schema::compile(id, format, text, &[]).expect("a schema");
    (0..).zip(all).map(compile).collect()
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((id, body)) = wire::split(input) else { return Corpus::Reject };
    let Some(schema) = SCHEMAS.get(id as usize) else { return Corpus::Reject };
    let Ok(json) = schema.decode(body) else { return Corpus::Keep };
    let value: Value = serde_json::from_slice(&json).expect("what is decoded is JSON");
    // A name that stands for another number, or an enum's number without a name, may not come back.
    if let Ok(again) = schema.encode(&value) {
        let (again_id, body) = wire::split(&again).expect("the wire format");
        assert_eq!(again_id, id);
        assert!(schema.decode(body).is_ok());
    }
    Corpus::Keep
});
