//! `/healthz`, `/readyz`, `/livez` and `/metrics`.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// Answers whether the daemon can do its work: `Err` says in words what it waits for. Called at
/// each request; it must not block.
#[derive(Clone)]
pub struct Readiness {
    ask: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    remark: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Readiness {
    /// Wraps the question.
    pub fn new(ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self {
            ask: Arc::new(ask),
            remark: Arc::new(|| None),
        }
    }

    /// Adds what is to be said although the daemon can do its work. Called like the question.
    #[must_use]
    pub fn with_remark(
        mut self,
        remark: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.remark = Arc::new(remark);
        self
    }

    /// The answer now.
    ///
    /// # Errors
    /// What the daemon waits for.
    pub fn ask(&self) -> Result<(), String> {
        (self.ask)()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readiness({:?})", self.ask())
    }
}

/// The admin routes; merge them into the daemon's router. Health means that the process answers;
/// readiness that it can do its work.
pub fn router(metrics: Metrics, readiness: Readiness) -> Router {
    let ready = move || async move {
        match readiness.ask() {
            Ok(()) => match (readiness.remark)() {
                None => (StatusCode::OK, "ok".to_owned()),
                Some(remark) => (StatusCode::OK, format!("ok, but {remark}")),
            },
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    };
    Router::new()
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { scrape(&metrics) }))
}

async fn alive() -> &'static str {
    "ok"
}

fn scrape(metrics: &Metrics) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode()).into_response()
}
