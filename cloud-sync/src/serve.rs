//! The sync endpoint: `GET /sync/v1/{node}`, upgraded to a WebSocket that carries one session.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use causeway_daemon::session_driver::{EndReason, SessionEnd, drive};
use causeway_daemon::tasks::{self, Stop, Task};
use causeway_daemon::ws;
use causeway_kube_api::{Clock, View};
use causeway_log::replication::{CloseCode, Role, SessionConfig};
use causeway_log::wire::Encoder;
use causeway_log::{Epoch, NodeName, Store};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request as HttpRequest, StatusCode, header};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use uuid::Uuid;

use crate::cluster::{Requests, is_complete};
use crate::hub::{Hub, Overloaded, SessionEndpoint};
use crate::metrics::Totals;

/// When to come back while the cluster was never seen, in seconds.
const INCOMPLETE_RETRY: u16 = 2;

/// Where sessions that begin are handed in.
pub(crate) type Starting = mpsc::Sender<BoxFuture<'static, ()>>;

/// What a session is made of. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Requests,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) totals: Arc<Totals>,
    /// Shared by all sessions: a change for many nodes is encoded once.
    pub(crate) encoder: Arc<Encoder>,
    /// Identity of this process start.
    pub(crate) incarnation: Uuid,
    /// The mirror that must be complete before any node is told what it is to have.
    pub(crate) mirror: Option<View>,
    /// Where sessions are handed to the task that owns them.
    pub(crate) starting: Starting,
    pub(crate) stop: Stop,
}

/// The routes of the sync listener.
pub(crate) fn sync_router(sync: Sync) -> Router {
    Router::new()
        .route(&format!("{}/{{node}}", ws::SYNC_PATH), any(accept))
        .with_state(sync)
}

async fn accept(
    State(sync): State<Sync>,
    Path(node): Path<String>,
    mut request: HttpRequest<Body>,
) -> Response {
    let Ok(node) = NodeName::new(&node) else {
        return (StatusCode::BAD_REQUEST, "the path names no valid node\n").into_response();
    };
    if sync
        .mirror
        .as_ref()
        .is_some_and(|mirror| !is_complete(mirror))
    {
        // Told to hold nothing, a node would end what it runs.
        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(INCOMPLETE_RETRY));
        return response;
    }
    let (seat, control) = match sync.hub.admit(&node, sync.stop.clone()) {
        Ok(admitted) => admitted,
        Err(overloaded) => {
            sync.totals.overloaded.inc();
            return come_back_later(&overloaded);
        }
    };
    let (response, upgrading) = match ws::upgrade(&mut request) {
        Ok(granted) => granted,
        Err(refused) => return refused,
    };
    let starting = sync.starting.clone();
    let session = async move {
        let transport = match upgrading.finish().await {
            Ok(transport) => transport,
            Err(error) => {
                tracing::debug!(%node, %error, "connection gone before the upgrade");
                return;
            }
        };
        let config = SessionConfig::new(
            Role::Cloud,
            node.clone(),
            sync.incarnation,
            Epoch::new(sync.clock.uid()),
        )
        .with_encoder(sync.encoder);
        let endpoint = SessionEndpoint::new(
            seat,
            sync.store,
            sync.writer,
            sync.clock,
            Arc::clone(&sync.totals),
        );
        let endpoint = Arc::new(endpoint);
        let end = drive(config, transport, Arc::clone(&endpoint), control).await;
        count_end(&end, &sync.totals);
        endpoint.leave(&in_words(&end.reason));
    };
    match starting.try_send(Box::pin(session)) {
        Ok(()) => response,
        // As many sessions have come at once as there may be altogether, or the daemon stops.
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not now\n").into_response(),
    }
}

/// The task that owns all sessions, and where they are handed to it.
pub(crate) fn sessions(sessions_max: usize, mut stop: Stop) -> (Starting, Task) {
    let (starting, mut started) = mpsc::channel::<BoxFuture<'static, ()>>(sessions_max);
    let task = tasks::spawn("sessions", async move {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Some(ended) = sessions.join_next(), if !sessions.is_empty() => log_panic(ended),
                Some(session) = started.recv() => {
                    sessions.spawn(session);
                }
            }
        }
        // Each of them has the stop token too, and says goodbye in bounded time.
        while let Some(ended) = sessions.join_next().await {
            log_panic(ended);
        }
    });
    (starting, task)
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session panicked");
    }
}

fn come_back_later(overloaded: &Overloaded) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, format!("{overloaded}\n")).into_response();
    let seconds = HeaderValue::from(overloaded.retry_after.as_secs().max(1));
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// The driver says in the log how a session ended; here it is only counted.
fn count_end(end: &SessionEnd, totals: &Totals) {
    match end.reason.code() {
        Some(CloseCode::Violation | CloseCode::TooLarge) => {
            totals.violations.inc();
        }
        Some(CloseCode::Fenced) => {
            totals.fenced.inc();
        }
        Some(
            CloseCode::GoingAway
            | CloseCode::Version
            | CloseCode::Timeout
            | CloseCode::Storage
            | CloseCode::Overloaded
            | CloseCode::Forbidden,
        )
        | None => {}
    }
}

fn in_words(reason: &EndReason) -> String {
    match reason {
        EndReason::Closed(close) => {
            let side = if close.by_peer {
                "the edge"
            } else {
                "the cloud"
            };
            format!("{side} closed it: {}", close.reason)
        }
        EndReason::Lost(why) => why.clone(),
    }
}
