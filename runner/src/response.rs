//! The body of an answer as it arrives, and the error that it may end with.
//!
//! An answer comes in one piece or as a stream, which may report an error in its trailers:
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>.
//! What is cut off before its end, or ends with an error, is never an answer.

use crate::{
    failure::{Failure, LONGEST_MESSAGE},
    invocation::{LARGEST_ANSWER, Sent},
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, header::CONTENT_TYPE},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::Deserialize;

/// How the answer comes: `streaming`, or in one piece where it is absent.
pub const MODE: &str = "lambda-runtime-function-response-mode";
/// The error's type: a header of an error, a trailer of a stream.
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");
/// The error, JSON in base64: a trailer of a stream.
const ERROR_BODY: HeaderName = HeaderName::from_static("lambda-runtime-function-error-body");
/// Such a body begins with the status and headers of an HTTP answer.
const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// What stands between that beginning and the answer.
const DELIMITER: [u8; 8] = [0; 8];
/// An answer that is too large is read up to here, so that the process can be told.
const READ_AT_MOST: usize = LARGEST_ANSWER * 8;

/// Reads an answer to its end.
pub async fn receive(headers: &HeaderMap, body: Body) -> Sent {
    let (body, trailers) = match read(body).await {
        Ok(read) => read,
        Err(sent) => return sent,
    };
    let streamed = headers.contains_key(MODE);
    if let Some(failure) = trailers.as_ref().and_then(reported) {
        return Sent::Failed(failure);
    }
    if let Some(failure) = streamed.then(|| written(&body)).flatten() {
        return Sent::Failed(failure);
    }
    let prelude = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(WITH_PRELUDE.as_bytes()));
    let start = prelude.then(|| body.windows(DELIMITER.len()).position(|bytes| bytes == DELIMITER)).flatten();
    Sent::Whole(start.map_or_else(|| body.clone(), |start| body.slice(start + DELIMITER.len()..)))
}

async fn read(mut body: Body) -> Result<(Bytes, Option<HeaderMap>), Sent> {
    let (mut whole, mut length, mut trailers) = (BytesMut::new(), 0, None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Sent::CutOff(described(&error)))?;
        match frame.into_data() {
            Ok(piece) => {
                length += piece.len();
                if length <= LARGEST_ANSWER {
                    whole.extend_from_slice(&piece);
                } else if length > READ_AT_MOST {
                    break;
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    if length > LARGEST_ANSWER { Err(Sent::TooLarge(length)) } else { Ok((whole.freeze(), trailers)) }
}

/// The error with all its causes: the outermost says no more than that a body could not be read.
fn described(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

/// The error that the trailers report.
fn reported(trailers: &HeaderMap) -> Option<Failure> {
    let text = |name| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    error_of(text(ERROR_TYPE).filter(|kind| !kind.is_empty()), text(ERROR_BODY))
}

/// The same as text at the end of the body, where `lambda_runtime` (1.5) writes it.
fn written(body: &[u8]) -> Option<Failure> {
    const KIND: &str = "Lambda-Runtime-Function-Error-Type: ";
    const ERROR: &str = "\r\nLambda-Runtime-Function-Error-Body: ";
    if !body.ends_with(b"\r\n") {
        return None;
    }
    let start = body.windows(KIND.len()).rposition(|bytes| bytes == KIND.as_bytes())? + KIND.len();
    let (kind, error) = std::str::from_utf8(&body[start..]).ok()?.split_once(ERROR)?;
    error_of(Some(kind.to_owned()), Some(error.trim_end().to_owned()))
}

fn error_of(kind: Option<String>, body: Option<String>) -> Option<Failure> {
    if kind.is_none() && body.is_none() {
        return None;
    }
    let body = body.unwrap_or_default();
    let body = STANDARD.decode(&body).unwrap_or_else(|_not_base64| body.into_bytes());
    let said = said(&body, None);
    Some(Failure::new(kind.unwrap_or(said.kind), said.message))
}

/// The error of a call's body; its header is asked for the type where the body has none.
pub fn error(headers: &HeaderMap, body: &[u8]) -> Failure {
    said(body, headers.get(ERROR_TYPE).and_then(|kind| kind.to_str().ok()))
}

/// The error body that runtimes send; anything else is kept as the message.
fn said(body: &[u8], kind: Option<&str>) -> Failure {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        error_message: Option<String>,
        error_type: Option<String>,
    }
    let form = serde_json::from_slice(body).unwrap_or_else(|_not_json| Form {
        error_message: Some(String::from_utf8_lossy(&body[..body.len().min(LONGEST_MESSAGE)]).into_owned()),
        error_type: None,
    });
    let kind = form.error_type.filter(|kind| !kind.is_empty()).or_else(|| kind.map(str::to_owned));
    Failure::new(kind.unwrap_or_else(|| "FunctionError".to_owned()), form.error_message.unwrap_or_default())
}
