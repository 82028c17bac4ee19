//! HTTP/1.1 listeners with bounds: connections, header size and time, patience with clients that
//! do not read, and a stop that does not wait for watches which never end.

mod stall;

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::tasks::{self, Stop, Task};
use crate::tcp;
use stall::Unstalled;

/// A request's header must have come by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way at a stop may take this much longer.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Memory of one connection for reading; also the bound of a request's header.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Connections at a time; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// A client that takes nothing of its answer for so long is cut off. A watch goes on from its
    /// resource version and loses nothing.
    pub stall_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves `router` on a TCP listener until stopped.
pub fn serve_tcp(listener: TcpListener, router: Router, limits: HttpLimits, stop: Stop) -> Task {
    tasks::spawn("http-tcp", serve(listener, router, limits, stop))
}

/// Serves `router` on a Unix socket until stopped.
pub fn serve_unix(listener: UnixListener, router: Router, limits: HttpLimits, stop: Stop) -> Task {
    tasks::spawn("http-unix", serve(listener, router, limits, stop))
}

/// Binds a Unix socket that only its owner may use, in place of one that a dead process left.
///
/// # Errors
/// When another process listens there, or the path cannot be bound.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        ));
    }
    remove_stale_socket(path)?;
    // Until the mode is set only this user may connect, as the usual umask takes write permission
    // from everybody else.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes what a dead process left, and nothing that is no socket.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something else is there",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

trait Listener: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let (stream, _) = ready!(Self::poll_accept(self, cx))?;
        Poll::Ready(tcp::tune(&stream).map(|()| stream))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        Self::poll_accept(self, cx).map_ok(|(stream, _)| stream)
    }
}

async fn serve<L: Listener>(listener: L, router: Router, limits: HttpLimits, mut stop: Stop) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            () = stop.wait() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.expect("never closed"),
        };
        tokio::select! {
            biased;
            () = stop.wait() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a request panicked");
                }
            }
            accepted = poll_fn(|cx| listener.poll_accept(cx)) => match accepted {
                Ok(stream) => {
                    let stream = Unstalled::new(stream, limits.stall_timeout);
                    connections.spawn(connection(stream, router.clone(), slot, stop.clone()));
                }
                Err(error) => refused(&error).await,
            },
        }
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    // Watches end with their task; nobody waits for them.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
}

/// Out of descriptors, most likely: wait for one to come free instead of spinning.
async fn refused(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection<S>(stream: S, router: Router, slot: OwnedSemaphorePermit, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %crate::telemetry::error_chain(&error), "connection ended early");
    }
    drop(slot);
}
