//! The inspection API: what the two streams of a node hold, for people and tools. JSON; a log is
//! one record a line. What is secret is not shown.
//!
//! | route below `/causeway/v1` | |
//! |---|---|
//! | `status` | the daemon's own account of itself |
//! | `nodes/{node}/log` | records of its streams, `follow`ed on demand |
//! | `nodes/{node}/digest` | what two sides compare |
//! | `nodes/{node}/objects` | what the node sees, or saw |
//! | `nodes/{node}/twins` | its devices |
//! | `nodes/{node}/twins/{namespace}/{name}` | what is desired of one and what it reports |
//! | `nodes/{node}/twins/{namespace}/{name}/history/{property}` | the readings that were kept |

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use causeway_log::error::ReadError;
use causeway_log::{Direction, NodeName, Revision, Store, StreamId, WallTime};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::telemetry::error_chain;

mod digest;
mod history;
mod log;
mod objects;
mod redact;
mod twins;

pub use redact::{REDACTED, redact};

/// What the inspection routes look at. Cheap to clone.
#[derive(Clone)]
pub struct Inspected {
    /// The store; a node is known when one of its streams is open in it.
    pub store: Arc<dyn Store>,
    /// Moves when the store became durable further; wakes those who follow a log.
    pub durable: watch::Receiver<Revision>,
    /// Gives the status document of the daemon.
    pub status: Arc<dyn Fn() -> Value + Send + Sync>,
}

impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// The routes.
pub fn router(inspected: Inspected) -> Router {
    Router::new()
        .route("/causeway/v1/status", get(status))
        .route("/causeway/v1/nodes/{node}/log", get(log::serve))
        .route("/causeway/v1/nodes/{node}/digest", get(digest::serve))
        .route("/causeway/v1/nodes/{node}/objects", get(objects::serve))
        .route("/causeway/v1/nodes/{node}/twins", get(twins::list))
        .route(
            "/causeway/v1/nodes/{node}/twins/{namespace}/{name}",
            get(twins::one),
        )
        .route(
            "/causeway/v1/nodes/{node}/twins/{namespace}/{name}/history/{property}",
            get(history::serve),
        )
        .with_state(inspected)
}

async fn status(State(inspected): State<Inspected>) -> Json<Value> {
    Json((inspected.status)())
}

/// What a daemon's status says of its store.
#[must_use]
pub fn store_status(store: &dyn Store) -> Value {
    let (watermarks, stats) = (store.watermarks(), store.stats());
    json!({
        "written": watermarks.written.get(),
        "durable": watermarks.durable.get(),
        "records": stats.records,
        "body_bytes": stats.body_bytes,
        "syncs": stats.syncs,
        "read_only": stats.read_only,
    })
}

/// Why a question has no answer.
#[derive(Debug)]
enum Refusal {
    /// The question is wrong.
    BadRequest(String),
    /// No such node here.
    UnknownNode(NodeName),
    /// The node has no such thing.
    NotFound(String),
    /// The history does not reach there.
    Gone { oldest: Revision },
    /// The store cannot be read.
    Internal(String),
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Internal(error_chain(&error).to_string())
    }
}

impl IntoResponse for Refusal {
    /// A Kubernetes `Status`, so that every tool for the API reads it.
    fn into_response(self) -> Response {
        let (code, reason, message, details) = match self {
            Self::BadRequest(message) => {
                (StatusCode::BAD_REQUEST, "BadRequest", message, Value::Null)
            }
            Self::UnknownNode(node) => {
                let message = format!("node {node} has no log here");
                (StatusCode::NOT_FOUND, "NotFound", message, Value::Null)
            }
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "NotFound", message, Value::Null),
            Self::Gone { oldest } => {
                let message = format!("the history begins at revision {oldest}");
                (
                    StatusCode::GONE,
                    "Expired",
                    message,
                    json!({ "oldest": oldest.get() }),
                )
            }
            Self::Internal(message) => {
                tracing::error!(message, "inspection failed");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "InternalError",
                    message,
                    Value::Null,
                )
            }
        };
        let body = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code.as_u16(),
        });
        (code, Json(body)).into_response()
    }
}

/// A node by its name, when the store has a stream of it.
fn known(store: &dyn Store, node: &str) -> Result<NodeName, Refusal> {
    streams_of(store, node)?;
    name_of(node)
}

fn name_of(node: &str) -> Result<NodeName, Refusal> {
    NodeName::new(node).map_err(|error| Refusal::BadRequest(error.to_string()))
}

/// The open streams of a node, `down` first.
fn streams_of(store: &dyn Store, node: &str) -> Result<Vec<StreamId>, Refusal> {
    let node = name_of(node)?;
    let mut open = Vec::new();
    for direction in [Direction::Down, Direction::Up] {
        let stream = StreamId::Node(node.clone(), direction);
        if store.stream(&stream)?.is_some() {
            open.push(stream);
        }
    }
    if open.is_empty() {
        Err(Refusal::UnknownNode(node))
    } else {
        Ok(open)
    }
}

const fn direction_of(stream: &StreamId) -> &'static str {
    match stream {
        StreamId::Cluster => "cluster",
        StreamId::Node(_, Direction::Down) => "down",
        StreamId::Node(_, Direction::Up) => "up",
    }
}

/// RFC 3339 in UTC.
fn format_time(time: WallTime) -> String {
    let millis = i64::try_from(time.unix_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Runs what reads much of the store beside the tasks.
async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let lost = |_| Err(Refusal::Internal("reading the store panicked".to_owned()));
    tokio::task::spawn_blocking(read).await.unwrap_or_else(lost)
}
