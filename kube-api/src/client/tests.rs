//! The client against a server that plays a script, byte by byte.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use super::*;

/// One scripted answer.
struct Answer {
    text: String,
    /// Whether the server closes the connection after it.
    close: bool,
}

fn answer(code: u16, body: &Value) -> Answer {
    let body = body.to_string();
    let text = format!(
        "HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer { text, close: false }
}

fn closing(answer: Answer) -> Answer {
    Answer {
        close: true,
        ..answer
    }
}

/// A watch that tells these events and ends.
fn events(lines: &[Value]) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let text = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{lines}");
    Answer { text, close: true }
}

struct Script {
    client: Client,
    /// Request heads and bodies, in order; an empty text for each new connection.
    seen: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Script {
    fn play(answers: Vec<Answer>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, answers.into(), Arc::clone(&seen)));
        Self {
            client: Client::unix(path),
            seen,
            _server: server,
            _dir: dir,
        }
    }

    fn first_lines(&self) -> Vec<String> {
        let seen = self.seen.lock();
        let lines = seen
            .iter()
            .map(|request| request.lines().next().unwrap_or("").to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }

    fn connections(&self) -> usize {
        self.seen
            .lock()
            .iter()
            .filter(|request| request.is_empty())
            .count()
    }
}

async fn serve(
    listener: UnixListener,
    mut answers: VecDeque<Answer>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    while !answers.is_empty() {
        let (mut stream, _) = listener.accept().await.unwrap();
        seen.lock().push(String::new());
        let mut unread = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut unread).await {
            seen.lock().push(request);
            let Some(answer) = answers.pop_front() else {
                break;
            };
            stream.write_all(answer.text.as_bytes()).await.unwrap();
            if answer.close {
                break;
            }
        }
    }
    std::future::pending().await
}

async fn read_request(stream: &mut tokio::net::UnixStream, unread: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(unread).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ")
                    .and_then(|length| length.parse().ok())
            });
            let length: usize = length.unwrap_or(0);
            if body.len() >= length {
                unread.drain(..head.len() + 4 + length);
                return Some(format!("{head}\r\n\r\n{}", &body[..length]));
            }
        }
        if stream.read_buf(unread).await.unwrap() == 0 {
            return None;
        }
    }
}

fn status(code: u16, reason: &str) -> Value {
    serde_json::to_value(Status::failure(code, reason, "no")).unwrap()
}

fn object(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": version}})
}

fn list(names: &[&str], version: &str, next: &str) -> Value {
    let items: Vec<Value> = names.iter().map(|name| object(name, version)).collect();
    json!({"items": items, "metadata": {"resourceVersion": version, "continue": next}})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

#[tokio::test]
async fn requests_say_what_they_mean_on_one_connection() {
    let answers = (0..7).map(|_| answer(200, &object("a", "1"))).collect();
    let script = Script::play(answers);
    let client = &script.client;
    client.get(&PODS, "default", "a").await.unwrap();
    client
        .create(&CONFIGMAPS, "default", &object("a", ""))
        .await
        .unwrap();
    client.update(&LEASES, &object("a", "1")).await.unwrap();
    client
        .update_status(&PODS, &object("a", "1"))
        .await
        .unwrap();
    client
        .patch(&NODES, "", "a b", PatchFormat::Strategic, &json!({}))
        .await
        .unwrap();
    client
        .patch_status(&PODS, "default", "a", PatchFormat::Merge, &json!({}))
        .await
        .unwrap();
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: Some("u".to_owned()),
        ..DeleteOptions::default()
    };
    client
        .delete(&PODS, "default", "a", &options)
        .await
        .unwrap();
    let expected = [
        "GET /api/v1/namespaces/default/pods/a HTTP/1.1",
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1",
        "PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/a HTTP/1.1",
        "PUT /api/v1/namespaces/default/pods/a/status HTTP/1.1",
        "PATCH /api/v1/nodes/a%20b HTTP/1.1",
        "PATCH /api/v1/namespaces/default/pods/a/status HTTP/1.1",
        "DELETE /api/v1/namespaces/default/pods/a HTTP/1.1",
    ];
    assert_eq!(script.first_lines(), expected);
    assert_eq!(script.connections(), 1);
    let seen = script.seen.lock();
    assert!(seen[5].contains("content-type: application/strategic-merge-patch+json"));
    assert!(seen[7].ends_with(
        r#"{"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","preconditions":{"uid":"u"}}"#
    ));
}

#[tokio::test]
async fn a_dead_idle_connection_is_replaced() {
    let script = Script::play(vec![
        closing(answer(200, &object("a", "1"))),
        closing(answer(200, &object("b", "2"))),
    ]);
    let first = script.client.get(&PODS, "default", "a").await.unwrap();
    let second = script.client.get(&PODS, "default", "b").await.unwrap();
    assert_eq!((first, second), (object("a", "1"), object("b", "2")));
    assert_eq!(script.connections(), 2);
}

#[tokio::test]
async fn a_read_that_breaks_on_an_idle_connection_is_sent_again() {
    // The second request is read and then dropped with its connection.
    let cut = || Answer {
        text: String::new(),
        close: true,
    };
    let found = || answer(200, &object("a", "1"));
    let script = Script::play(vec![found(), cut(), found(), cut()]);
    let client = &script.client;
    client.get(&PODS, "default", "a").await.unwrap();
    client.get(&PODS, "default", "a").await.unwrap();
    assert_eq!(script.connections(), 2);
    let broken = client
        .create(&PODS, "default", &object("b", ""))
        .await
        .unwrap_err();
    assert!(matches!(broken, ApiError::Transport { .. }), "{broken:?}");
}

#[tokio::test]
async fn refusals_are_typed() {
    let script = Script::play(vec![
        answer(404, &status(404, "NotFound")),
        answer(404, &status(404, "NotFound")),
        answer(409, &status(409, "Conflict")),
        answer(502, &json!("not a status")),
    ]);
    let client = &script.client;
    assert!(
        client
            .get(&PODS, "default", "a")
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(client.find(&PODS, "default", "a").await.unwrap(), None);
    let conflict = client.update(&PODS, &object("a", "1")).await.unwrap_err();
    assert!(conflict.is_conflict() && !conflict.retry());
    assert_eq!(conflict.to_string(), "the API refused the request: no");
    let strange = client.get(&PODS, "default", "a").await.unwrap_err();
    assert_eq!((strange.code(), strange.retry()), (Some(502), true));
    let nowhere = Client::unix("/nonexistent/api.sock");
    let unreachable = nowhere.get(&PODS, "", "a").await.unwrap_err();
    assert!(matches!(unreachable, ApiError::Connect { .. }) && unreachable.retry());
}

#[tokio::test]
async fn answers_over_the_bound_are_refused() {
    let script = Script::play(vec![answer(200, &json!("x".repeat(100)))]);
    let small = script.client.with_response_bytes_max(50);
    let refused = small.get(&PODS, "default", "a").await.unwrap_err();
    assert!(matches!(refused, ApiError::TooLarge { limit: 50 }));
}

#[tokio::test]
async fn lists_come_page_by_page() {
    let script = Script::play(vec![
        answer(200, &list(&["a", "b"], "7", "next=")),
        answer(200, &list(&["c"], "7", "")),
    ]);
    let options = ListOptions::default()
        .labels("app=web,tier in (a,b)")
        .fields("spec.nodeName=e");
    let all = script.client.list_all(&PODS, "", &options).await.unwrap();
    assert_eq!((all.items.len(), all.resource_version.as_str()), (3, "7"));
    let expected = [
        "GET /api/v1/pods?labelSelector=app%3Dweb%2Ctier%20in%20%28a%2Cb%29&fieldSelector=spec.nodeName%3De&limit=500 HTTP/1.1",
        "GET /api/v1/pods?labelSelector=app%3Dweb%2Ctier%20in%20%28a%2Cb%29&fieldSelector=spec.nodeName%3De&limit=500&continue=next%3D HTTP/1.1",
    ];
    assert_eq!(script.first_lines(), expected);
}

#[tokio::test]
async fn watches_tell_events_and_end() {
    let script = Script::play(vec![events(&[
        event("ADDED", &object("a", "1")),
        event("MODIFIED", &object("a", "2")),
        event("DELETED", &object("a", "3")),
        event("BOOKMARK", &json!({"metadata": {"resourceVersion": "9"}})),
        event("ERROR", &status(410, "Expired")),
        event("ADDED", &object("b", "10")),
    ])]);
    let mut watch = script
        .client
        .watch(&PODS, "", &ListOptions::default())
        .await
        .unwrap();
    let mut versions = Vec::new();
    let error = loop {
        match watch.next().await.unwrap() {
            Ok(event) => versions.push(event.resource_version().to_owned()),
            Err(error) => break error,
        }
    };
    assert_eq!(versions, ["1", "2", "3", "9"]);
    assert!(error.is_gone());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_may_be_refused_at_once() {
    let script = Script::play(vec![answer(410, &status(410, "Expired"))]);
    let refused = script
        .client
        .watch(&PODS, "", &ListOptions::default())
        .await
        .unwrap_err();
    assert!(refused.is_gone());
}

/// What a reflector tells, in short.
async fn told(reflector: &mut Reflector) -> String {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    match reflector.next().await {
        Reflected::Replace(items) => {
            format!(
                "all {}",
                items.iter().map(name).collect::<Vec<_>>().join(",")
            )
        }
        Reflected::Applied(object) => format!("+{}", name(&object)),
        Reflected::Deleted(object) => format!("-{}", name(&object)),
        Reflected::Interrupted { error, .. } => format!("interrupted {:?}", error.code()),
    }
}

#[tokio::test]
async fn a_reflector_resumes_and_lists_again_only_when_it_must() {
    let script = Script::play(vec![
        answer(200, &list(&["a"], "5", "")),
        events(&[
            event("ADDED", &object("b", "6")),
            event("BOOKMARK", &json!({"metadata": {"resourceVersion": "8"}})),
        ]),
        events(&[
            event("DELETED", &object("a", "9")),
            event("ERROR", &status(410, "Expired")),
        ]),
        answer(200, &list(&["b", "c"], "20", "")),
        events(&[event("MODIFIED", &object("c", "21"))]),
    ]);
    let mut reflector = script.client.reflect(PODS, "", ListOptions::default());
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(told(&mut reflector).await);
    }
    assert_eq!(
        seen,
        [
            "all a",
            "+b",
            "-a",
            "interrupted Some(410)",
            "all b,c",
            "+c"
        ]
    );
    let watched: Vec<String> = script
        .first_lines()
        .into_iter()
        .filter_map(|line| {
            let (_, rest) = line.split_once("resourceVersion=")?;
            Some(rest.split('&').next().unwrap().to_owned())
        })
        .collect();
    assert_eq!(watched, ["5", "8", "20"]);
}
