//! What is kept of a registry's answers. A listener says what Confluent's API would: that an id
//! appears a moment after it was asked for is nothing a registry can be made to do.

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tidemill_schemas::{NoSchema, Registry, Subject};
use tokio::net::TcpListener;

const ID: u32 = 7;

/// A registry that has the schema as a subject's latest, and does not find it by its id yet.
async fn registry() -> Registry {
    async fn by_id() -> (StatusCode, Json<Value>) {
        (StatusCode::NOT_FOUND, Json(json!({"error_code": 40403, "message": "Schema not found"})))
    }
    async fn latest() -> Json<Value> {
        Json(json!({"subject": "ticks-value", "version": 1, "id": ID, "schema": r#"{"type": "long"}"#}))
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let api =
        Router::new().route("/schemas/ids/{id}", get(by_id)).route("/subjects/{subject}/versions/latest", get(latest));
    tokio::spawn(async move { axum::serve(listener, api).await });
    Registry::new(&url, None).expect("a client")
}

#[tokio::test]
async fn an_id_that_was_given_up_is_there_again_when_the_registry_gives_it() {
    let registry = registry().await;
    let error = registry.by_id(ID).await.expect_err("it is not there yet");
    assert!(matches!(error, NoSchema::Unknown { id: ID, given_up: false, .. }), "{error:?}");
    registry.give_up(ID);
    let error = registry.by_id(ID).await.expect_err("it is not asked for");
    assert!(matches!(error, NoSchema::Unknown { id: ID, given_up: true, .. }), "{error:?}");
    let latest = registry.latest(&Subject::Value("ticks".into())).await.expect("the registry has just given it");
    assert_eq!(latest.map(|schema| schema.id), Some(ID));
    assert_eq!(registry.by_id(ID).await.expect("it is known").id, ID);
}
