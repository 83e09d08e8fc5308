//! The Runtime API by its bytes: answers in one piece, streamed, ended by trailers, cut off, too
//! large, in the wrong state; and what is refused.

use bytes::Bytes;
use futures::future::select;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tidemill_runner::{
    failure::Failure,
    health::Health,
    invocation::{Failed, LARGEST_ANSWER, Outcome},
    pool::{Pool, Source},
};
use tidemill_service::admin::Readiness;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const ID: &str = "11111111-2222-3333-4444-555555555555";

/// A function of one slot, whose process is the test.
struct Scene {
    pool: Arc<Pool>,
    api: SocketAddr,
}

impl Scene {
    async fn set(timeout: Duration) -> Self {
        Self::of(1, timeout).await
    }

    async fn of(processes: u32, timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let api = listener.local_addr().expect("an address");
        let source = Source::Image { listener, function: "f".to_owned() };
        let pool = Pool::start(source, processes, timeout, &Readiness::default()).expect("it can be served");
        Self { pool: Arc::new(pool), api }
    }

    /// An invocation, with an event of that size, that the process has taken.
    async fn invocation(&self, size: usize) -> JoinHandle<Outcome> {
        let pool = self.pool.clone();
        let invocation = tokio::spawn(async move {
            pool.invoke(ID.to_owned(), size, || Bytes::from_static(b"{}"), &CancellationToken::new()).await.0
        });
        let next = self.call("GET", "runtime/invocation/next").await;
        assert_eq!(next.status().as_u16(), 200);
        assert_eq!(next.headers()["lambda-runtime-aws-request-id"], ID);
        invocation
    }

    async fn call(&self, method: &str, path: &str) -> reqwest::Response {
        let method = method.parse().expect("a method");
        let url = format!("http://{}/2018-06-01/{path}", self.api);
        reqwest::Client::new().request(method, url).send().await.expect("an answer")
    }

    /// Posts an answer as it is given: headers, an empty line, a body.
    async fn post(&self, rest: &[u8]) -> TcpStream {
        let mut connection = TcpStream::connect(self.api).await.expect("a connection");
        let line = format!("POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nhost: x\r\n");
        connection.write_all(line.as_bytes()).await.expect("it is written");
        connection.write_all(rest).await.expect("it is written");
        connection
    }

    async fn answered(&self, rest: &[u8]) -> u16 {
        let mut connection = self.post(rest).await;
        let mut line = [0; 12];
        connection.read_exact(&mut line).await.expect("an answer");
        std::str::from_utf8(&line[9..]).expect("text").parse().expect("a status")
    }
}

const STREAM: &str = "transfer-encoding: chunked\r\nlambda-runtime-function-response-mode: streaming\r\n";
const PRELUDE: &str = "content-type: application/vnd.awslambda.http-integration-response\r\n";
/// `{"errorType":"Other","errorMessage":"the mill stands"}`
const ERROR: &str = "eyJlcnJvclR5cGUiOiJPdGhlciIsImVycm9yTWVzc2FnZSI6InRoZSBtaWxsIHN0YW5kcyJ9";

fn chunked(headers: &str, chunks: &[&str], trailers: &str) -> Vec<u8> {
    let mut text = format!("{headers}\r\n");
    for chunk in chunks {
        text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
    }
    (text + "0\r\n" + trailers + "\r\n").into_bytes()
}

fn failed(kind: &str, message: &str) -> Outcome {
    Err(Failed::Function(Failure::new(kind, message)))
}

#[tokio::test]
async fn few_events_are_made_before_they_are_asked_for() {
    for (processes, size, expected) in [(1, 2, 4), (1, 1 << 20, 2), (1, 64 << 20, 1), (2, 2, 5), (2, 64 << 20, 2)] {
        let scene = Scene::of(processes, Duration::from_secs(30)).await;
        let (made, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let (pool, made, stop) = (scene.pool.clone(), made.clone(), stop.clone());
                tokio::spawn(async move {
                    let event = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        Bytes::new()
                    };
                    pool.invoke("another".to_owned(), size, event, &stop).await.0
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(made.load(Ordering::Relaxed), expected, "{processes} processes, events of {size} bytes");
        stop.cancel();
        for invocation in waiting {
            assert_eq!(invocation.await.expect("it ends"), Err(Failed::Stopping));
        }
        // What nobody waits for any more is not in the way.
        let next = tokio::time::timeout(Duration::from_secs(10), scene.invocation(64 << 20));
        next.await.expect("it is handed out").abort();
    }
}

#[tokio::test]
async fn an_event_that_was_taken_makes_room_for_another() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    for _ in 0..3 {
        let next = tokio::time::timeout(Duration::from_secs(10), scene.invocation(64 << 20));
        let invocation = next.await.expect("it is handed out");
        assert_eq!(scene.answered(b"content-length: 2\r\n\r\n{}").await, 202);
        assert_eq!(invocation.await.expect("it ends"), Ok(Bytes::from_static(b"{}")));
    }
}

#[tokio::test]
async fn a_stream_is_an_answer_unless_it_ends_with_an_error() {
    let done = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
    let kind = "Lambda-Runtime-Function-Error-Type: Mill.Stands\r\n";
    let body = format!("Lambda-Runtime-Function-Error-Body: {ERROR}\r\n");
    let (both, mute) = (format!("{kind}{body}"), "Lambda-Runtime-Function-Error-Body: mute!\r\n");
    let announced =
        format!("{STREAM}trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n");
    let with_prelude = format!("{STREAM}{PRELUDE}");
    let chunks = ["{\"rec", "ords\"", ":[]}"];
    let chunked_only = "transfer-encoding: chunked\r\n";
    // What `lambda_runtime` writes of an error: text at the end of the body.
    let as_text = format!("{kind}Lambda-Runtime-Function-Error-Body: dGhlIG1pbGwgc3RhbmRz\r\n");
    let cases = [
        ("whole", chunked(STREAM, &chunks, ""), done("{\"records\":[]}")),
        ("empty", chunked(STREAM, &[], ""), done("")),
        ("not called a stream", chunked(chunked_only, &chunks, ""), done("{\"records\":[]}")),
        (
            "a status and headers before",
            chunked(&with_prelude, &["{\"statusCode\":200}\0\0\0\0\0", "\0\0\0null"], ""),
            done("null"),
        ),
        ("announced trailers, none sent", chunked(&announced, &chunks, ""), done("{\"records\":[]}")),
        ("trailers", chunked(&announced, &chunks, &both), failed("Mill.Stands", "the mill stands")),
        ("trailers that were not announced", chunked(STREAM, &chunks, &both), failed("Mill.Stands", "the mill stands")),
        (
            "trailers of what is no stream",
            chunked(chunked_only, &chunks, &both),
            failed("Mill.Stands", "the mill stands"),
        ),
        ("only a type", chunked(STREAM, &chunks, kind), failed("Mill.Stands", "")),
        ("only an error", chunked(STREAM, &chunks, &body), failed("Other", "the mill stands")),
        (
            "an error that is not base64",
            chunked(STREAM, &chunks, &format!("{kind}{mute}")),
            failed("Mill.Stands", "mute!"),
        ),
        ("trailers before any chunk", chunked(STREAM, &[], &both), failed("Mill.Stands", "the mill stands")),
        (
            "trailers as text",
            chunked(&with_prelude, &["{}\0\0\0\0\0\0\0\0", "[", &as_text], ""),
            failed("Mill.Stands", "the mill stands"),
        ),
        (
            "their names in an answer",
            chunked(STREAM, &["\"", kind.trim_end(), "\""], ""),
            done("\"Lambda-Runtime-Function-Error-Type: Mill.Stands\""),
        ),
        (
            "buffered by name",
            b"content-length: 4\r\nlambda-runtime-function-response-mode: buffered\r\n\r\nnull".to_vec(),
            done("null"),
        ),
    ];
    let scene = Scene::set(Duration::from_secs(30)).await;
    for (name, request, expected) in cases {
        let invocation = scene.invocation(2).await;
        assert_eq!(scene.answered(&request).await, 202, "{name}");
        assert_eq!(invocation.await.expect("no panic"), expected, "{name}");
    }
    let invocation = scene.invocation(2).await;
    let other = b"content-length: 4\r\nlambda-runtime-function-response-mode: steaming\r\n\r\nnull";
    assert_eq!(scene.answered(other).await, 400);
    let expected = failed("Runtime.InvalidResponseModeHeader", "the response mode is \"steaming\": expected streaming");
    assert_eq!(invocation.await.expect("no panic"), expected);
}

#[tokio::test]
async fn six_mebibytes_are_the_most_however_they_come() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    for (length, status) in [(LARGEST_ANSWER, 202), (LARGEST_ANSWER + 1, 413), (LARGEST_ANSWER * 9, 413)] {
        let (body, half) = (" ".repeat(length), " ".repeat(length / 2));
        let plain = format!("content-length: {length}\r\n\r\n{body}").into_bytes();
        for request in [plain, chunked(STREAM, &[&half, &body[half.len()..]], "")] {
            let invocation = scene.invocation(2).await;
            // One that is far too large is refused before its end.
            if length <= LARGEST_ANSWER * 8 {
                assert_eq!(scene.answered(&request).await, status, "{length}");
            } else {
                let mut connection = TcpStream::connect(scene.api).await.expect("a connection");
                let line = format!("POST /2018-06-01/runtime/invocation/{ID}/response HTTP/1.1\r\nhost: x\r\n");
                connection.write_all(line.as_bytes()).await.expect("it is written");
                drop(connection.write_all(&request).await);
            }
            match invocation.await.expect("no panic") {
                Ok(answer) => assert_eq!((answer.len(), status), (length, 202)),
                Err(failed) => assert_eq!((failed.kind(), status), ("Function.ResponseSizeTooLarge", 413)),
            }
        }
    }
}

#[tokio::test]
async fn what_is_cut_off_is_no_answer() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let beginning = format!("{STREAM}\r\n4\r\nnull\r\n");
    let broken = format!("{STREAM}\r\n4\r\nnull\r\nno size\r\n");
    let short = "content-length: 8\r\n\r\nnull".to_owned();
    let unfinished_trailers = format!("{STREAM}\r\n4\r\nnull\r\n0\r\nLambda-Runtime-Function");
    for request in [beginning.clone(), broken, short, unfinished_trailers] {
        let invocation = scene.invocation(2).await;
        drop(scene.post(request.as_bytes()).await);
        let failed = invocation.await.expect("no panic").expect_err(&request);
        assert_eq!(failed.kind(), "Runtime.TruncatedResponse", "{request}: {failed}");
    }
    // The process lives and asks again: its next invocation begins, and has its own time.
    let cut_off = scene.invocation(2).await;
    drop(scene.post(beginning.as_bytes()).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!cut_off.is_finished(), "its process may end yet");
    let next = scene.invocation(2).await;
    assert_eq!(cut_off.await.expect("no panic").expect_err("cut off").kind(), "Runtime.TruncatedResponse");
    assert_eq!(scene.answered(&chunked(STREAM, &["null"], "")).await, 202);
    assert_eq!(next.await.expect("no panic"), Ok(Bytes::from_static(b"null")));
}

#[tokio::test]
async fn a_stream_that_stands_still_is_late() {
    let scene = Scene::set(Duration::from_millis(300)).await;
    let invocation = scene.invocation(2).await;
    let held = scene.post(format!("{STREAM}\r\n4\r\nnull\r\n").as_bytes()).await;
    assert_eq!(invocation.await.expect("no panic"), Err(Failed::Timeout(Duration::from_millis(300))));
    drop(held);
}

#[tokio::test]
async fn a_call_in_the_wrong_state_or_of_another_id_changes_nothing() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let status = async |method, path: String| scene.call(method, &path).await.status().as_u16();
    let of = |id, call| format!("runtime/invocation/{id}/{call}");
    assert_eq!(scene.answered(&chunked(STREAM, &["null"], "")).await, 400, "nobody was given that id");
    let invocation = scene.invocation(2).await;
    assert_eq!(status("GET", "runtime/invocation/next".to_owned()).await, 403);
    assert_eq!(status("POST", "runtime/init/error".to_owned()).await, 403);
    assert_eq!(status("POST", of("another", "response")).await, 400);
    assert_eq!(status("POST", of("another", "error")).await, 400);
    assert_eq!(status("GET", of(ID, "response")).await, 405);
    assert!(!invocation.is_finished());
    assert_eq!(scene.answered(&chunked(STREAM, &["null"], "")).await, 202);
    assert_eq!(status("POST", of(ID, "response")).await, 403, "answered before");
    assert_eq!(status("POST", of("another", "error")).await, 400, "and that one never was");
    assert_eq!(invocation.await.expect("no panic"), Ok(Bytes::from_static(b"null")));

    let invocation = scene.invocation(2).await;
    let url = format!("http://{}/2018-06-01/{}", scene.api, of(ID, "error"));
    let error = reqwest::Client::new().post(url).header("Lambda-Runtime-Function-Error-Type", "Runtime.Header");
    let answer = error.body("no JSON").send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);
    assert_eq!(invocation.await.expect("no panic"), failed("Runtime.Header", "no JSON"));
}

#[tokio::test]
async fn headers_and_bodies_are_those_of_lambda() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let (pool, before) = (scene.pool.clone(), SystemTime::now());
    let invocation = tokio::spawn(async move {
        pool.invoke(ID.to_owned(), 2, || Bytes::from_static(b"{}"), &CancellationToken::new()).await.0
    });
    let next = scene.call("GET", "runtime/invocation/next").await;
    let text = |name: &str| next.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(text("content-type"), "application/json");
    assert_eq!(text("lambda-runtime-aws-request-id"), ID);
    assert_eq!(text("lambda-runtime-invoked-function-arn"), "arn:aws:lambda:us-east-1:000000000000:function:f");
    let deadline = UNIX_EPOCH + Duration::from_millis(text("lambda-runtime-deadline-ms").parse().expect("a number"));
    let remaining = deadline.duration_since(before).expect("it is to come");
    assert!((Duration::from_secs(29)..Duration::from_secs(35)).contains(&remaining), "{remaining:?}");
    let trace = text("lambda-runtime-trace-id");
    let root = trace.strip_prefix("Root=1-").and_then(|rest| rest.strip_suffix(";Sampled=0")).expect("X-Ray's form");
    assert_eq!(root.split('-').map(str::len).collect::<Vec<_>>(), [8, 24], "{trace}");
    assert_eq!(next.bytes().await.expect("the event"), "{}");

    let answers = [
        ("POST", format!("runtime/invocation/{ID}/response"), 202, json!({"status": "OK"})),
        ("POST", format!("runtime/invocation/{ID}/response"), 403, json!("InvalidStateTransition")),
        ("POST", "runtime/invocation/another/error".to_owned(), 400, json!("InvalidRequestID")),
    ];
    for (method, path, status, body) in answers {
        let answer = scene.call(method, &path).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
        let said: serde_json::Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        if status == 202 {
            assert_eq!(said, body, "{path}");
        } else {
            assert_eq!(said["errorType"], body, "{path}");
            assert!(said["errorMessage"].as_str().is_some_and(|text| !text.is_empty()), "{path}: {said}");
        }
    }
    assert_eq!(invocation.await.expect("no panic"), Ok(Bytes::new()));
}

#[tokio::test]
async fn of_two_calls_that_wait_the_later_has_the_work_and_nothing_fails() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let url = format!("http://{}/2018-06-01/runtime/invocation/next", scene.api);
    let next = || tokio::spawn(reqwest::Client::new().get(&url).send());
    // Whichever comes first.
    let (refused, waiting) = tokio::time::timeout(Duration::from_secs(10), select(next(), next()))
        .await
        .expect("one of them ends")
        .into_inner();
    assert_eq!(refused.expect("no panic").expect("an answer").status().as_u16(), 403);
    for waiting in [Some(waiting), None] {
        let pool = scene.pool.clone();
        let invocation = tokio::spawn(async move {
            pool.invoke(ID.to_owned(), 2, || Bytes::from_static(b"{}"), &CancellationToken::new()).await.0
        });
        let given = waiting.unwrap_or_else(next).await.expect("no panic").expect("an answer");
        assert_eq!(given.status().as_u16(), 200);
        assert_eq!(scene.answered(b"content-length: 4\r\n\r\nnull").await, 202);
        assert_eq!(invocation.await.expect("no panic"), Ok(Bytes::from_static(b"null")));
    }
}

#[tokio::test]
async fn who_could_not_start_gets_no_work_and_its_reason_is_told() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let url = format!("http://{}/2018-06-01/runtime/init/error", scene.api);
    let error = json!({"errorType": "Import", "errorMessage": "no such module"}).to_string();
    // The process is this one, which the runner does not take for a function's: there is nobody to be ended.
    let answer = reqwest::Client::new().post(url).body(error).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202);
    let mut health = scene.pool.health();
    let failing =
        health.wait_for(|health| matches!(health, Health::Failing(reason) if reason.contains("no such module")));
    tokio::time::timeout(Duration::from_secs(10), failing).await.expect("it is told").expect("the pool lives");
    // The next process may begin.
    let invocation = scene.invocation(2).await;
    assert_eq!(scene.answered(b"content-length: 4\r\n\r\nnull").await, 202);
    assert!(invocation.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn what_is_not_offered_is_refused_with_the_reason() {
    let scene = Scene::set(Duration::from_secs(30)).await;
    let calls = [
        ("POST", "2020-01-01/extension/register", "Extension.NotSupported", "extensions are not offered"),
        ("GET", "2020-01-01/extension/event/next", "Extension.NotSupported", "extensions are not offered"),
        ("GET", "2018-06-01/runtime/restore/next", "Restore.NotSupported", "snapshot"),
        ("POST", "2018-06-01/runtime/restore/error", "Restore.NotSupported", "snapshot"),
        ("PUT", "2020-08-15/logs", "Logs.NotSupported", "Logs API"),
        ("PUT", "2022-07-01/telemetry", "Telemetry.NotSupported", "/metrics"),
        ("GET", "2018-06-01/ping", "NotFound", "no such call"),
    ];
    for (method, path, kind, part) in calls {
        let request =
            reqwest::Client::new().request(method.parse().expect("a method"), format!("http://{}/{path}", scene.api));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
        assert_eq!(body["errorType"], kind, "{path}");
        assert!(body["errorMessage"].as_str().is_some_and(|text| text.contains(part)), "{path}: {body}");
    }
    // None of them was taken for the function's process: it may still begin.
    let invocation = scene.invocation(2).await;
    assert_eq!(scene.answered(b"content-length: 4\r\n\r\nnull").await, 202);
    assert!(invocation.await.expect("no panic").is_ok());
}
