//! Features of replication, tested through one door: two stores, two sessions and a pipe.

mod backoff;
mod bytes;
mod documents;
mod hostile;
mod pair;
mod property;
mod reconcile;
mod resume;
mod sync;
mod trimmed;

use pair::{Pair, Side, body};
