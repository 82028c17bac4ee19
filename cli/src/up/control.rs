//! The control socket of a running `up`: HTTP and JSON on DIR/up.sock, for this user only.
//!
//! - `GET /v1/status`
//! - `PUT /v1/links/{node}`, body: a [`Link`]
//! - `POST /v1/processes/{name}/{start|kill|restart}`, body: `{"graceful": bool}`

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use axum::extract::{Path as PathOf, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use causeway_daemon::tasks::{Task, spawn};
use causeway_simulator::proxy::Link;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::site::{Node, Site, Unit};

/// Serves until the task is dropped.
///
/// # Errors
/// When the socket cannot be made.
pub(super) fn serve(site: Site, socket: &Path) -> Result<Task> {
    // A leftover of an `up` that was killed; the directory's lock says that it is nobody's.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket)
        .with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    let router = axum::Router::new()
        .route("/v1/status", get(status))
        .route("/v1/links/{node}", put(link))
        .route("/v1/processes/{name}/{action}", post(act))
        .with_state(site);
    Ok(spawn("control", async move {
        // It ends only with the task.
        let _ = axum::serve(listener, router).await;
    }))
}

async fn status(State(site): State<Site>) -> Response {
    let mut nodes = Vec::new();
    for node in site.nodes() {
        nodes.push(describe(node).await);
    }
    let cloud = json!({"pid": site.cloud().pid().await});
    answer(&json!({"pid": std::process::id(), "cloud": cloud, "nodes": nodes}))
}

async fn link(State(site): State<Site>, PathOf(name): PathOf<String>, body: String) -> Response {
    let Some(node) = site.node(&name) else {
        return unknown(&name);
    };
    match serde_json::from_str::<Link>(&body) {
        Ok(link) => {
            node.proxy().set(link);
            answer(&describe(node).await)
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &format!("no link: {error}")),
    }
}

async fn act(
    State(site): State<Site>,
    PathOf((name, action)): PathOf<(String, String)>,
    body: String,
) -> Response {
    let Some(unit) = site.unit(&name) else {
        return unknown(&name);
    };
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let graceful = body["graceful"] == true;
    let performed = perform(unit, &action, graceful).await;
    if let Some(Ok(Some(_))) = performed {
        // Whoever asks next wants an answer, not a refused connection.
        site.serving(&name).await;
    }
    match performed {
        Some(Ok(pid)) => answer(&json!({"name": name, "pid": pid})),
        Some(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}")),
        None => refuse(StatusCode::NOT_FOUND, &format!("no action {action:?}")),
    }
}

/// `None`: there is no such action.
async fn perform(unit: &Unit, action: &str, graceful: bool) -> Option<Result<Option<u32>>> {
    match action {
        "start" => Some(unit.start().await),
        "kill" => Some(unit.end(graceful).await.map(|()| None)),
        "restart" => Some(match unit.end(graceful).await {
            Ok(()) => unit.start().await,
            Err(error) => Err(error),
        }),
        _ => None,
    }
}

async fn describe(node: &Node) -> Value {
    json!({
        "name": node.name(),
        "pid": node.unit().pid().await,
        "link": node.proxy().link(),
        "traffic": node.proxy().traffic(),
    })
}

fn answer(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, answer(&json!({ "message": message }))).into_response()
}

fn unknown(name: &str) -> Response {
    refuse(StatusCode::NOT_FOUND, &format!("there is no {name:?}"))
}
