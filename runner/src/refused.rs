//! Calls that Lambda offers beside the Runtime API and the runner does not: each is refused with
//! what to do instead, and said in the log, so that nobody waits for an extension in vain.

use axum::{
    Json,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tracing::warn;

/// The beginning of a path, `errorType` and `errorMessage`.
const REFUSED: [(&str, &str, &str); 4] = [
    (
        "/2020-01-01/extension/",
        "Extension.NotSupported",
        "extensions are not offered: run what it does as a container or a function of its own",
    ),
    (
        "/2018-06-01/runtime/restore/",
        "Restore.NotSupported",
        "nothing is restored from a snapshot: AWS_LAMBDA_INITIALIZATION_TYPE is on-demand",
    ),
    (
        "/2020-08-15/logs",
        "Logs.NotSupported",
        "the Logs API is not offered: what a function prints is in the runner's log with its request id, or in its own container's",
    ),
    (
        "/2022-07-01/telemetry",
        "Telemetry.NotSupported",
        "the Telemetry API is not offered: the runner serves /metrics, and what a function prints is in its pod's log",
    ),
];

/// Any path that is not the Runtime API's.
pub async fn call(uri: Uri) -> Response {
    let path = uri.path();
    let known = REFUSED.iter().find(|(start, ..)| path.starts_with(start));
    let (kind, message) = known.map_or(
        ("NotFound", "this is the Lambda Runtime API 2018-06-01, which has no such call"),
        |(_, kind, message)| (*kind, *message),
    );
    warn!(path, kind, "a call of the function is refused: {message}");
    (StatusCode::NOT_FOUND, Json(json!({"errorType": kind, "errorMessage": message}))).into_response()
}
