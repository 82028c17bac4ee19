//! Bounds of the client.

use std::time::Duration;

/// How long a connection attempt may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request other than a watch may take, from sending to the last byte.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than its `timeoutSeconds` a watch may live: a server that forgot to end it.
pub(super) const WATCH_GRACE: Duration = Duration::from_secs(30);
/// `timeoutSeconds` of a watch that names none.
pub(super) const WATCH_SECONDS: u32 = 290;
/// Buffer of a connection: several times the largest head we meet, small enough for many watches.
pub(super) const CONNECTION_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Largest answer taken into memory unless told otherwise.
pub(super) const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// Largest single watch event: an object of the largest size served plus its envelope.
pub(super) const EVENT_BYTES_MAX: usize = 4 << 20;
/// Requests under way at once, watches apart: each has a connection, and on both ends its buffers.
/// More would not be answered sooner by a server on the same machine.
pub(super) const REQUESTS_MAX: usize = 4;
/// Idle connections kept for the next request.
pub(super) const IDLE_MAX: usize = 2;
/// Objects asked for at a time by a reflector.
pub(super) const PAGE_OBJECTS: u32 = 500;
/// First and longest delay before a reflector tries again.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(250);
/// See [`RETRY_MIN`].
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);
