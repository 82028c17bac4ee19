//! Kubernetes-style REST over a [`Source`] of objects.
//!
//! This crate is the only place that knows REST semantics: paths, discovery, list and watch,
//! selectors, patches, preconditions, tables, errors as `Status` objects. A daemon implements
//! [`Source`], which gives a [`View`] of durable state and commits a [`Write`]; the cloud's and the
//! edge's API differ in nothing else.
//!
//! [`decide`], [`patch`], [`schema`], [`table`] and [`openapi`] are pure; [`router`] is the shell
//! around them; [`client`] is the other end.

pub mod catalog;
pub mod client;
pub mod decide;
mod dialect;
pub mod openapi;
pub mod patch;
pub mod schema;
pub mod server;
pub mod source;
pub mod status;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
pub mod watch;

pub use catalog::{Catalog, CustomKind, ServedKind};
pub use server::{ServerConfig, VersionInfo, router};
pub use source::{
    Authority, Change, Clock, Expected, Source, SystemClock, Write, WriteError, Written,
};
pub use status::Status;
pub use view::View;
