//! A Unix socket that stays open to whoever calls.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::transport::server::Connected;
use tracing::warn;

use crate::CONNECTIONS_MAX;
use crate::authority::Authority;

/// How often the path is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(5);
/// After a connection could not be accepted, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is listened on, for its owner only (mode 0600).
///
/// # Guarantees
/// - What a dead process left at the path is replaced; a socket in use, and what is no socket, is
///   left alone.
/// - When the socket is removed while it is served, it is made again. Connections that stand are
///   not touched.
/// - At most [`CONNECTIONS_MAX`] connections at a time; more wait until one ends.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode of the socket.
    made: (u64, u64),
    /// It was said that something else is at the path.
    is_lost: bool,
    look_period: Duration,
}

impl Door {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When something else is there, a process listens there already, or the system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (listener, made) = bind(path)?;
        Ok(Self {
            path: path.to_owned(),
            listener,
            made,
            is_lost: false,
            look_period: LOOK_PERIOD,
        })
    }

    /// Looks at the path more or less often than usual.
    #[must_use]
    pub const fn looking_every(mut self, period: Duration) -> Self {
        self.look_period = period;
        self
    }

    /// Hands out connections for as long as somebody takes them.
    pub(crate) async fn receive(
        mut self,
        sender: mpsc::Sender<io::Result<Connection>>,
    ) -> Infallible {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut looks = interval(self.look_period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let stream = self.accept(&mut looks).await;
            let connection = Connection {
                stream,
                authority: Authority::new(),
                _place: place,
            };
            if sender.send(Ok(connection)).await.is_err() {
                return pending().await;
            }
        }
    }

    async fn accept(&mut self, looks: &mut Interval) -> UnixStream {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => return stream,
                    Err(error) => {
                        warn!(%error, path = %self.path.display(), "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                _ = looks.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let path = self.path.display();
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.made => self.is_lost = false,
            Ok(_) if self.is_lost => {}
            Ok(_) => {
                self.is_lost = true;
                warn!(%path, "something else took the place of the socket; nobody new can call");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match bind(&self.path) {
                Ok((listener, made)) => {
                    (self.listener, self.made, self.is_lost) = (listener, made, false);
                    warn!(%path, "the socket was removed; it was made again");
                }
                Err(_) if self.is_lost => {}
                Err(error) => {
                    self.is_lost = true;
                    warn!(%path, %error, "the socket was removed and cannot be made again");
                }
            },
            Err(_) => {}
        }
    }
}

/// A listener at `path` in place of what nobody serves any more, and what it made there.
fn bind(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something that is no socket",
            ));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there",
            ));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Until the mode is set only this user may connect, as the usual umask takes write permission
    // from everybody else.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let made = std::fs::symlink_metadata(path)?;
    Ok((listener, (made.dev(), made.ino())))
}

/// A connection, and its place among those that may stand.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    authority: Authority,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.authority.rewrite(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
