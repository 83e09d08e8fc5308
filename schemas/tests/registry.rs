//! What is kept of a registry's answers, and whom it answers. A listener says what Confluent's API would: that an id
//! appears a moment after it was asked for is nothing a registry can be made to do.

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::get,
};
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
    let api =
        Router::new().route("/schemas/ids/{id}", get(by_id)).route("/subjects/{subject}/versions/latest", get(latest));
    Registry::new(&serve(api).await, None).expect("a client")
}

/// Answers where it is.
async fn serve(api: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, api).await });
    url
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

/// Of the user `tidemill` with the password `s3:cret`.
const GOOD: &str = "Basic dGlkZW1pbGw6czM6Y3JldA==";

#[tokio::test]
async fn a_registry_that_asks_who_comes_is_told() {
    /// As registries say it, and proxies before them.
    async fn by_id(headers: HeaderMap) -> Response {
        match headers.get(AUTHORIZATION).map(|value| value.as_bytes()) {
            Some(said) if said == GOOD.as_bytes() => Json(json!({"schema": r#"{"type": "long"}"#})).into_response(),
            Some(_) => {
                let said = json!({"error_code": 401, "message": "Unauthorized"});
                (StatusCode::UNAUTHORIZED, Json(said)).into_response()
            }
            None => (StatusCode::UNAUTHORIZED, "<html>who are you?</html>").into_response(),
        }
    }
    let url = serve(Router::new().route("/schemas/ids/{id}", get(by_id))).await;
    let ask = async |user| Registry::new(&url, user).expect("a client").by_id(ID).await;

    let schema = ask(Some(("tidemill", Some("s3:cret")))).await.expect("these are right");
    assert_eq!(schema.id, ID);
    for wrong in
        [Some(("tidemill", Some("other"))), Some(("somebody", Some("s3:cret"))), Some(("tidemill", None)), None]
    {
        let error = ask(wrong).await.expect_err("these are wrong");
        assert_eq!(error.kind(), "SchemaRegistryUnavailable", "{wrong:?}: {error}");
        let said = error.to_string();
        assert!(said.contains(&url) && said.contains("401 Unauthorized"), "{wrong:?}: {said}");
        assert!(!said.contains("other") && !said.contains("cret"), "it tells no password: {said}");
    }
}
