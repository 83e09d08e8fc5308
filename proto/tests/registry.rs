//! Whether the present schemas may follow the released ones, asked of a real schema registry under
//! BACKWARD compatibility; and that it does refuse what would break a reader.
//!
//! Needs the testbed's registry, and starts it where it does not run.

use protox::file::File;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tidemill_testbed::registry;
use tokio::task::spawn_blocking;

/// File name to text.
type Schemas = BTreeMap<String, String>;

/// The file that all others import.
const COMMON: &str = "common.proto";

/// What may come after the present schemas: a name, the file, its text, what it becomes.
const ALLOWED: [(&str, &str, &str, &str); 7] = [
    ("nothing", "market", "", ""),
    ("a new optional field", "market", "vwap = 11;", "vwap = 11;\n  optional string note = 12;"),
    ("a new field", "market", "vwap = 11;", "vwap = 11;\n  repeated string notes = 12;"),
    (
        "a new message at the end",
        "market",
        "string timeframe = 11;\n}",
        "string timeframe = 11;\n}\nmessage Last { string a = 1; }",
    ),
    ("a new enum value", "trading", "ORDER_SIDE_SELL = 2;", "ORDER_SIDE_SELL = 2;\n  ORDER_SIDE_SHORT = 3;"),
    ("a comment", "trading", "// Until it is cancelled.", "// Until someone cancels it."),
    (
        "a field that is on its way out",
        "market",
        "int64 trade_count = 10;",
        "int64 trade_count = 10 [deprecated = true];",
    ),
];

/// What the registry refuses.
const REFUSED: [(&str, &str, &str, &str); 18] = [
    ("a number used again with another type", "market", "int64 trade_count = 10;", "string note = 10;"),
    ("a number used again with another message", "market", "Decimal price = 4;", "ErrorInfo error = 4;"),
    ("a field removed", "market", "  int64 trade_count = 10;\n", ""),
    (
        "a field removed, its number kept",
        "market",
        "int64 trade_count = 10;",
        "reserved 10;\n  reserved \"trade_count\";",
    ),
    ("another type", "market", "int64 trade_count = 10;", "string trade_count = 10;"),
    ("another type of the same wire type", "market", "int64 trade_count = 10;", "int32 trade_count = 10;"),
    ("a message in place of text", "trading", "string order_id = 1;", "tidemill.common.Decimal order_id = 1;"),
    ("another enum", "trading", "OrderType type = 7;", "OrderSide type = 7;"),
    ("another type of a map's values", "trading", "map<string, string> metadata", "map<string, int64> metadata"),
    ("another name", "market", "int64 trade_count = 10;", "int64 trades = 10;"),
    ("another number", "market", "int64 trade_count = 10;", "int64 trade_count = 12;"),
    ("many in place of one", "market", "  string symbol = 1;", "  repeated string symbol = 1;"),
    ("no presence any more", "trading", "optional string error_message", "string error_message"),
    ("a message renamed", "market", "message PriceTick", "message Tick"),
    ("an enum value removed", "trading", "  ORDER_SIDE_SELL = 2;\n", ""),
    ("an enum value renamed", "trading", "ORDER_SIDE_SELL = 2;", "ORDER_SIDE_SOLD = 2;"),
    ("an enum value renumbered", "trading", "ORDER_SIDE_SELL = 2;", "ORDER_SIDE_SELL = 3;"),
    ("what the others share", "common", "int32 scale = 2;", "string scale = 2;"),
];

/// What the registry takes, and `follows` refuses.
const LAX: [(&str, &str, &str, &str); 2] = [
    ("another package", "market", "package tidemill.market;", "package tidemill.prices;"),
    (
        "a message before others",
        "market",
        "message PriceTick {",
        "message First { string a = 1; }\nmessage PriceTick {",
    ),
];

#[tokio::test]
async fn the_present_schemas_may_follow_the_released() {
    let mut chain = released();
    assert!(!chain.is_empty(), "there is a release");
    chain.push(present());
    for pair in chain.windows(2) {
        follows(&pair[0], &pair[1]).unwrap_or_else(|error| panic!("{error}"));
    }
    let registry = Registry::start().await;
    registry.take(&chain).await.unwrap_or_else(|words| panic!("an incompatible change: {words}"));
}

#[tokio::test]
async fn a_change_that_breaks_a_reader_is_refused_in_the_registry_s_words() {
    let registry = Registry::start().await;
    for (name, file, from, to) in ALLOWED {
        let chain = [present(), changed(file, from, to)];
        assert_eq!(registry.take(&chain).await, Ok(()), "{name}");
        assert_eq!(follows(&chain[0], &chain[1]), Ok(()), "{name}");
    }
    for (name, file, from, to) in REFUSED {
        let words = registry.take(&[present(), changed(file, from, to)]).await.expect_err(name);
        assert!(words.starts_with(&format!("{file}.proto: 409")), "{name}: {words}");
        assert!(words.contains("not backward compatible"), "{name}: {words}");
    }
    for (name, file, from, to) in LAX {
        let chain = [present(), changed(file, from, to)];
        assert_eq!(registry.take(&chain).await, Ok(()), "{name}: the registry refuses it now: move it up");
        follows(&chain[0], &chain[1]).expect_err(name);
    }
}

/// What no registry looks at: serializers say which message of a file they wrote by its place, and
/// readers of descriptors by the package.
fn follows(old: &Schemas, new: &Schemas) -> Result<(), String> {
    for (name, text) in old {
        let new = new.get(name).ok_or_else(|| format!("{name} is gone"))?;
        let parse = |text: &str| File::from_source(name, text).map(|file| file.file_descriptor_proto().clone());
        let (old, new) =
            (parse(text).map_err(|error| error.to_string())?, parse(new).map_err(|error| error.to_string())?);
        if old.package != new.package {
            return Err(format!("{name}: package {} has become {}", old.package(), new.package()));
        }
        for (place, message) in old.message_type.iter().enumerate() {
            let there = new.message_type.get(place).map_or("nothing", |message| message.name());
            if there != message.name() {
                return Err(format!("{name}: message {place} was {} and is {there}", message.name()));
            }
        }
    }
    Ok(())
}

fn folder() -> PathBuf {
    // When it runs: another clone may have built it.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for a test"))
}

fn present() -> Schemas {
    read(&folder())
}

/// Each release, the first one first.
fn released() -> Vec<Schemas> {
    let places = (1..).map(|number| folder().join("released").join(number.to_string()));
    places.take_while(|place| place.is_dir()).map(|place| read(&place)).collect()
}

fn read(folder: &Path) -> Schemas {
    let paths = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let schemas = paths.filter(|path| path.extension().is_some_and(|end| end == "proto"));
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    schemas.map(|path| (name(&path), fs::read_to_string(&path).expect("it can be read"))).collect()
}

/// The present schemas with the first such text of a file changed.
fn changed(file: &str, from: &str, to: &str) -> Schemas {
    let mut schemas = present();
    let text = schemas.get_mut(&format!("{file}.proto")).expect("the file is there");
    assert!(text.contains(from), "{file}.proto has no `{from}`");
    *text = text.replacen(from, to, 1);
    schemas
}

struct Registry {
    url: String,
    client: Client,
}

impl Registry {
    async fn start() -> Self {
        let started = spawn_blocking(registry::start).await.expect("starting does not panic");
        Self { url: registry::url(&started.expect("the registry starts")), client: Client::new() }
    }

    /// Registers versions one after the other, each file under a subject of its own; answers the
    /// registry's words where it refuses one.
    async fn take(&self, chain: &[Schemas]) -> Result<(), String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let subject = |name: &str| format!("proto-{now}-{name}");
        for (index, schemas) in chain.iter().enumerate() {
            let mut names: Vec<&String> = schemas.keys().collect();
            names.sort_by_key(|name| *name != COMMON);
            let mut references = json!([]);
            for name in names {
                let (subject, others) = (subject(name), if name == COMMON { json!([]) } else { references.clone() });
                let version = json!({"schema": schemas[name], "schemaType": "PROTOBUF", "references": others});
                let said = |words| format!("{name}: {words}");
                if index > 0 {
                    let path = format!("/compatibility/subjects/{subject}/versions/latest?verbose=true");
                    let verdict = self.call(Method::POST, &path, Some(&version)).await.map_err(said)?;
                    let taken = self.call(Method::POST, &format!("/subjects/{subject}/versions"), Some(&version)).await;
                    assert_eq!(verdict["is_compatible"], taken.is_ok(), "{name}: {taken:?}: one verdict for both");
                    taken.map_err(said)?;
                } else {
                    self.call(Method::POST, &format!("/subjects/{subject}/versions"), Some(&version))
                        .await
                        .map_err(said)?;
                    let backward = json!({"compatibility": "BACKWARD"});
                    self.call(Method::PUT, &format!("/config/{subject}"), Some(&backward)).await.map_err(said)?;
                }
                if name == COMMON {
                    let latest = format!("/subjects/{subject}/versions/latest");
                    let latest = self.call(Method::GET, &latest, None).await.map_err(said)?;
                    references = json!([{"name": COMMON, "subject": subject, "version": latest["version"]}]);
                }
            }
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/vnd.schemaregistry.v1+json").body(body.to_string());
        }
        let answer = request.send().await.expect("the registry answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        if status >= 400 {
            return Err(format!("{status}: {text}"));
        }
        Ok(serde_json::from_str(&text).expect("JSON"))
    }
}
