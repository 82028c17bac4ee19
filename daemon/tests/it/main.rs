//! The kit from outside: transports over real sockets, sessions between two stores, inspection.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod driver;
mod http;
mod inspect;
mod store;
mod twins;
mod ws;

use std::future::Future;
use std::time::Duration;

/// Nothing here takes long; a test that hangs should say where.
const DEADLINE: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen in time"),
    }
}
