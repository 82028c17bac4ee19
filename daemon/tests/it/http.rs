//! Listeners.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use causeway_daemon::admin::{self, Readiness};
use causeway_daemon::http::{HttpLimits, bind_unix, serve_unix};
use causeway_daemon::metrics::Metrics;
use causeway_daemon::tasks::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::within;

async fn ask(mut stream: UnixStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    answer
}

#[tokio::test]
async fn the_admin_routes_answer_on_a_private_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let shutdown = Shutdown::new();
    let readiness = Readiness::new(|| Err("warming up".to_owned()));
    let router = admin::router(Metrics::new(), readiness);
    let limits = HttpLimits::default();
    let task = serve_unix(bind_unix(&path).unwrap(), router, limits, shutdown.token());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let connect = async || UnixStream::connect(&path).await.unwrap();
    assert!(
        ask(connect().await, "/healthz")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let ready = ask(connect().await, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.ends_with("warming up"),
        "{ready}"
    );
    assert!(ask(connect().await, "/metrics").await.contains("# EOF"));
    shutdown.begin();
    within("the stop", task.join()).await.unwrap();
}

#[tokio::test]
async fn a_socket_in_use_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let first = bind_unix(&path).unwrap();
    assert!(bind_unix(&path).is_err());
    drop(first);
    // What a dead process left is replaced, what is no socket is not.
    bind_unix(&path).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    bind_unix(&file).unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn stopping_does_not_wait_for_requests_that_never_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let shutdown = Shutdown::new();
    let (begun, mut watching) = tokio::sync::mpsc::channel(1);
    let endless = get(move || async move {
        begun.send(()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let router = Router::new().route("/watch", endless);
    let limits = HttpLimits {
        connections_max: 1,
        ..HttpLimits::default()
    };
    let task = serve_unix(bind_unix(&path).unwrap(), router, limits, shutdown.token());
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    within("the request", watching.recv()).await.unwrap();
    shutdown.begin();
    within("the stop", task.join()).await.unwrap();
    assert_eq!(
        within("the end", stream.read(&mut [0; 16]))
            .await
            .unwrap_or(0),
        0
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    const ANSWER_BYTES: usize = 32 * 1024 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let shutdown = Shutdown::new();
    let freed = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&freed);
    let router = Router::new().route(
        "/large",
        get(move || {
            let freed = Arc::clone(&answers);
            async move { Body::from(Bytes::from_owner(Large(vec![0; ANSWER_BYTES], freed))) }
        }),
    );
    let limits = HttpLimits {
        stall_timeout: Duration::from_millis(50),
        ..HttpLimits::default()
    };
    let task = serve_unix(bind_unix(&path).unwrap(), router, limits, shutdown.token());
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    // The answer begins, and nobody reads on.
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    let ended = async {
        while !freed.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    };
    within("the end of the answer", ended).await;
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
    assert!(rest.len() < ANSWER_BYTES, "{}", rest.len());
    shutdown.begin();
    within("the stop", task.join()).await.unwrap();
}

/// Bytes that say when nobody holds them any more.
struct Large(Vec<u8>, Arc<AtomicBool>);

impl Drop for Large {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
