//! The loop itself.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use causeway_log::replication::{Close, CloseCode, Effect, Moment, Role, Session, SessionConfig};
use causeway_log::{NodeName, Offset};
use futures_util::SinkExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::{
    CLOSE_TIMEOUT, Control, Counts, EndReason, Endpoint, SEND_STALL_MAX, SessionEnd, SessionEvent,
    WRITE_BYTES_OUTSTANDING_MAX, WRITES_OUTSTANDING_MAX, WriteRefused,
};
use crate::telemetry::error_chain;
use crate::ws::{self, Transport, TransportError};

/// Longer than any session lasts.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What the loop is woken by.
enum Wake {
    /// Something for the session.
    Input(Input),
    /// This side wants to end.
    Close(Close),
    /// The peer takes nothing.
    Stalled,
    /// The transport is gone.
    Lost(Option<TransportError>),
}

/// What a session is fed with.
enum Input {
    Written(Result<(), WriteRefused>),
    Stored,
    Frame(Bytes),
    /// The transport takes a message, or has taken what it had.
    Writable,
    Timeout,
}

/// Where the outgoing side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// The session may have frames.
    Wanted,
    /// It has none, but the transport has not taken everything.
    Flushing,
    /// Nothing to do until the next input.
    Idle,
}

pub(super) struct Driver<T, E> {
    number: u64,
    node: NodeName,
    role: Role,
    session: Session,
    transport: T,
    endpoint: Arc<E>,
    started: Instant,
    own_head: watch::Receiver<Offset>,
    /// Store writes under way, in order.
    writes: FuturesOrdered<BoxFuture<'static, Result<(), WriteRefused>>>,
    /// For each, the size of the frame it came from.
    write_bytes: VecDeque<usize>,
    /// The size of the frame being handled, until a write takes it.
    frame_bytes: usize,
    sending: Sending,
    /// While something waits to be sent: how far the transport was, and when it must be further.
    stall: Option<(u64, Instant)>,
    /// Whose turn it is first at the transport; neither direction may starve the other.
    read_first: bool,
    established: bool,
    /// The acknowledgement last told.
    acked: Offset,
    counts: Counts,
}

impl<T, E> fmt::Debug for Driver<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("node", &self.node)
            .field("session", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, E: Endpoint> Driver<T, E> {
    pub(super) fn new(config: SessionConfig, number: u64, transport: T, endpoint: Arc<E>) -> Self {
        let (node, role) = (config.node.clone(), config.role);
        let session = Session::new(config, Moment::default(), &**endpoint.store());
        let own_head = endpoint.own_head(&node);
        Self {
            number,
            node,
            role,
            session,
            transport,
            endpoint,
            started: Instant::now(),
            own_head,
            writes: FuturesOrdered::new(),
            write_bytes: VecDeque::new(),
            frame_bytes: 0,
            sending: Sending::Wanted,
            stall: None,
            read_first: true,
            established: false,
            acked: Offset::ZERO,
            counts: Counts::default(),
        }
    }

    pub(super) async fn run(mut self: Box<Self>, mut control: Control) -> SessionEnd {
        let mut timer = pin!(tokio::time::sleep_until(self.started));
        let mut closing = false;
        let reason = loop {
            if let Some(close) = self.drain_effects() {
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.say_goodbye(&close)).await;
                break EndReason::Closed(close);
            }
            self.arm(timer.as_mut());
            match self.next_wake(&mut control, closing, timer.as_mut()).await {
                Wake::Close(close) => {
                    closing = true;
                    self.session
                        .close(close.code, &close.reason, close.retry_after);
                }
                Wake::Lost(error) => {
                    let reason = lost(error);
                    // The peer may still listen: it is told what it did wrong.
                    if let EndReason::Closed(close) = &reason
                        && !close.by_peer
                    {
                        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.say_goodbye(close)).await;
                    }
                    break reason;
                }
                Wake::Stalled => {
                    break EndReason::Lost(format!(
                        "the peer took no data for {} s",
                        SEND_STALL_MAX.as_secs()
                    ));
                }
                Wake::Input(input) => self.handle(input),
            }
        };
        // A session of the same node that begins after this one must find everything in its place.
        while self.writes.next().await.is_some() {}
        self.end(reason)
    }

    /// Waits for whatever comes first. The order of the arms is the order of importance.
    async fn next_wake(
        &mut self,
        control: &mut Control,
        closing: bool,
        mut timer: Pin<&mut Sleep>,
    ) -> Wake {
        let may_read = self.writes.len() < WRITES_OUTSTANDING_MAX
            && self.write_bytes.iter().sum::<usize>() < WRITE_BYTES_OUTSTANDING_MAX;
        self.read_first = !self.read_first;
        let stall = self.stall.map(|(_, deadline)| deadline);
        let (sending, read_first, transport) = (self.sending, self.read_first, &mut self.transport);
        tokio::select! {
            biased;
            // Stopping beats everything, or a busy peer could hold up the shutdown.
            close = control.closing(), if !closing => Wake::Close(close),
            // Durable writes turn into acks and open the gate for reading.
            Some(written) = self.writes.next(), if !self.writes.is_empty() => {
                Wake::Input(Input::Written(written))
            }
            // Own records travel before the peer's next ones are looked at: local writes are few.
            Ok(()) = self.own_head.changed() => Wake::Input(Input::Stored),
            wake = poll_fn(|cx| poll_transport(transport, cx, sending, may_read, read_first)) => {
                wake
            }
            // Timers last: what has arrived counts as heard before the deadline is judged.
            () = timer.as_mut() => Wake::Input(Input::Timeout),
            () = tokio::time::sleep_until(stall.unwrap_or(self.started)), if stall.is_some() => {
                Wake::Stalled
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.now();
        let store = Arc::clone(self.endpoint.store());
        match input {
            Input::Written(Ok(())) => {
                self.write_bytes.pop_front();
                self.session.handle_written(now, &*store);
            }
            Input::Written(Err(refused)) => {
                self.write_bytes.pop_front();
                self.session
                    .close(refused.close_code(), &refused.to_string(), None);
            }
            Input::Stored => self.session.handle_stored(now, &*store),
            Input::Frame(frame) => {
                self.counts.frames_in += 1;
                self.counts.bytes_in += frame.len() as u64;
                self.frame_bytes = frame.len();
                self.observe(SessionEvent::Received { bytes: frame.len() });
                self.session.handle_frame(now, &frame, &*store);
            }
            Input::Timeout => self.session.handle_timeout(now, &*store),
            Input::Writable => return self.send_next(),
        }
        self.sending = Sending::Wanted;
    }

    /// The transport has room: give it the next frame, or let it come to rest.
    fn send_next(&mut self) {
        if self.sending == Sending::Flushing {
            self.sending = Sending::Idle;
            self.stall = None;
            self.report();
            return;
        }
        let store = Arc::clone(self.endpoint.store());
        match self.session.poll_frame(self.now(), &*store) {
            None => self.sending = Sending::Flushing,
            Some(frame) => self.start_send(frame),
        }
    }

    fn start_send(&mut self, frame: Bytes) {
        self.counts.frames_out += 1;
        self.counts.bytes_out += frame.len() as u64;
        self.observe(SessionEvent::Sent { bytes: frame.len() });
        // A failure shows again at the next poll, where it is handled.
        let _ = self.transport.start_send_unpin(frame);
    }

    /// Does what the session asks for. Gives the close, when it asks for that.
    fn drain_effects(&mut self) -> Option<Close> {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Write(write) => {
                    self.write_bytes
                        .push_back(std::mem::take(&mut self.frame_bytes));
                    self.writes
                        .push_back(self.endpoint.write(&self.node, write));
                }
                Effect::Established(established) => {
                    self.established = true;
                    tracing::info!(
                        node = %self.node,
                        session = self.number,
                        sending = ?established.sending,
                        receiving = ?established.receiving,
                        "session established"
                    );
                    self.observe(SessionEvent::Established(established));
                    // One that has nothing to say may have caught up already.
                    self.report();
                }
                Effect::Close(close) => return Some(close),
            }
        }
        self.frame_bytes = 0;
        None
    }

    /// Sends what is left and closes the transport.
    async fn say_goodbye(&mut self, close: &Close) -> Result<(), TransportError> {
        let store = Arc::clone(self.endpoint.store());
        while let Some(frame) = self.session.poll_frame(self.now(), &*store) {
            self.counts.frames_out += 1;
            self.counts.bytes_out += frame.len() as u64;
            self.transport.send(frame).await?;
        }
        self.transport.flush().await?;
        self.transport.start_close(close.code, &close.reason);
        self.transport.close().await?;
        if self.role == Role::Cloud || !close.by_peer {
            ws::drain(&mut self.transport).await;
        }
        Ok(())
    }

    /// Sets the timer to the session's next moment, and watches that sending moves on.
    fn arm(&mut self, mut timer: Pin<&mut Sleep>) {
        let next = self.session.poll_timeout().map_or(NEVER, |moment| moment.0);
        let deadline = self.started + next;
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        if self.sending == Sending::Idle {
            return;
        }
        let progress = self.transport.progress();
        if self.stall.is_none_or(|(before, _)| before != progress) {
            self.stall = Some((progress, Instant::now() + SEND_STALL_MAX));
        }
    }

    fn end(&mut self, reason: EndReason) -> SessionEnd {
        let end = SessionEnd {
            reason,
            established: self.established,
            lasted: self.started.elapsed(),
            counts: self.counts,
        };
        let (node, session, counts) = (&self.node, self.number, &end.counts);
        let (bytes_in, bytes_out) = (counts.bytes_in, counts.bytes_out);
        match &end.reason {
            EndReason::Closed(Close {
                code: CloseCode::GoingAway,
                reason,
                by_peer,
                ..
            }) => {
                tracing::info!(%node, session, by_peer, bytes_in, bytes_out, reason, "session ended");
            }
            EndReason::Closed(Close {
                code,
                reason,
                by_peer,
                ..
            }) => {
                tracing::warn!(
                    %node, session, ?code, by_peer, bytes_in, bytes_out, reason, "session closed"
                );
            }
            EndReason::Lost(reason) => {
                tracing::info!(%node, session, bytes_in, bytes_out, reason, "session lost");
            }
        }
        self.report();
        self.endpoint
            .observe(&self.node, SessionEvent::Ended { end: end.clone() });
        end
    }

    /// Tells where the session stands, when it has come to rest.
    fn report(&mut self) {
        let stats = self.session.stats();
        if stats.acked_upto > self.acked {
            self.acked = stats.acked_upto;
            self.observe(SessionEvent::Acked { upto: self.acked });
        }
        self.endpoint.observe_stats(&self.node, &stats);
    }

    fn observe(&self, event: SessionEvent) {
        self.endpoint.observe(&self.node, event);
    }

    fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }
}

/// Serves both directions of the transport, the given one first.
fn poll_transport<T: Transport>(
    transport: &mut T,
    cx: &mut Context<'_>,
    sending: Sending,
    may_read: bool,
    read_first: bool,
) -> Poll<Wake> {
    let mut transport = Pin::new(transport);
    let read = |transport: &mut Pin<&mut T>, cx: &mut Context<'_>| {
        if !may_read {
            return Poll::Pending;
        }
        transport.as_mut().poll_next(cx).map(|read| match read {
            Some(Ok(frame)) => Wake::Input(Input::Frame(frame)),
            Some(Err(error)) => Wake::Lost(Some(error)),
            None => Wake::Lost(None),
        })
    };
    if read_first && let Poll::Ready(wake) = read(&mut transport, cx) {
        return Poll::Ready(wake);
    }
    let written = match sending {
        Sending::Wanted => transport.as_mut().poll_ready(cx),
        Sending::Flushing => transport.as_mut().poll_flush(cx),
        Sending::Idle => Poll::Pending,
    };
    match written {
        Poll::Ready(Ok(())) => return Poll::Ready(Wake::Input(Input::Writable)),
        Poll::Ready(Err(error)) => return Poll::Ready(Wake::Lost(Some(error))),
        Poll::Pending => {}
    }
    if read_first {
        Poll::Pending
    } else {
        read(&mut transport, cx)
    }
}

/// How the end of a connection is told. What broke the transport's own rules is a violation of
/// ours too.
fn lost(error: Option<TransportError>) -> EndReason {
    let Some(error) = error else {
        return EndReason::Lost("the connection ended".to_owned());
    };
    let closed = |code, by_peer, reason| {
        EndReason::Closed(Close {
            code,
            reason,
            retry_after: None,
            by_peer,
        })
    };
    match error {
        TransportError::Closed {
            code: Some(code),
            reason,
        } => closed(code, true, reason),
        TransportError::TooLarge => closed(CloseCode::TooLarge, false, error.to_string()),
        TransportError::Protocol(_) | TransportError::Text => {
            closed(CloseCode::Violation, false, error_chain(&error).to_string())
        }
        TransportError::Closed { code: None, .. } | TransportError::Lost(_) => {
            EndReason::Lost(error_chain(&error).to_string())
        }
    }
}
