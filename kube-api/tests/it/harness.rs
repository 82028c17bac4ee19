//! Requests into a router without a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use causeway_kube_api::testing::{FixedClock, MemorySource};
use causeway_kube_api::{ServerConfig, router};
use causeway_log::WallTime;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};

/// Nothing here takes as long as this unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// An API over a source in memory.
pub(crate) struct Api {
    pub(crate) source: Arc<MemorySource>,
    pub(crate) router: axum::Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn warnings(&self) -> Vec<String> {
        let values = self.headers.get_all("warning").into_iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }
}

impl Api {
    pub(crate) fn cloud() -> Self {
        Self::over(MemorySource::cloud())
    }

    pub(crate) fn over(source: Arc<MemorySource>) -> Self {
        let clock = FixedClock::new(WallTime::from_unix_millis(1_700_000_000_000), 7);
        let config = ServerConfig {
            clock,
            warn_uncontrolled: true,
            watchers_max: 4,
            body_bytes_max: 64 * 1024,
            ..ServerConfig::default()
        };
        Self {
            router: router(Arc::clone(&source), config),
            source,
        }
    }

    /// Without a deadline, for tests that let time pass.
    pub(crate) async fn send_unbounded(&self, request: Request<Body>) -> http::Response<Body> {
        let service = TowerToHyperService::new(self.router.clone());
        service.call(request).await.expect("a router never fails")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> http::Response<Body> {
        let service = TowerToHyperService::new(self.router.clone());
        let answer = tokio::time::timeout(DEADLINE, service.call(request));
        answer
            .await
            .expect("an answer in time")
            .expect("a router never fails")
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media);
        self.read(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn read(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Answer {
            code: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "application/json", Body::empty())
            .await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::builder().uri(path).header("accept", accept);
        self.read(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, "application/json", body.to_string())
            .await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.call(
            "PATCH",
            path,
            "application/merge-patch+json",
            body.to_string(),
        )
        .await
    }

    pub(crate) async fn watch(&self, path: &str) -> Events {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Events {
            body: answer.into_body(),
            read: BytesMut::new(),
        }
    }

    /// Puts a ConfigMap with a label as its owner would.
    pub(crate) fn config_map(&self, name: &str, tier: &str) -> u64 {
        let fields = json!({"metadata": {"labels": {"tier": tier}}, "data": {"k": "v"}});
        self.source
            .put_new("v1", "ConfigMap", "configmaps", "default", name, fields)
            .get()
    }
}

/// The events of a watch.
pub(crate) struct Events {
    body: Body,
    read: BytesMut,
}

impl Events {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Bytes = self.read.split_to(end + 1).freeze();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame());
            let frame = frame.await.expect("an event in time")?.unwrap();
            self.read.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    /// Type and name of the next event.
    pub(crate) async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("one more event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }

    pub(crate) async fn expect(&mut self, kind: &str, name: &str) {
        assert_eq!(self.told().await, (kind.to_owned(), name.to_owned()));
    }
}
