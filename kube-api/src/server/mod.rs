//! The REST server.

use std::sync::Arc;

use crate::source::{Clock, Source};

/// What `/version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Kubernetes API level spoken, such as `v1.32.0+causeway`.
    pub git_version: String,
    /// Commit of this program, if known.
    pub git_commit: String,
    /// When it was built, if known.
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            git_version: format!("v1.32.0+causeway-{}", env!("CARGO_PKG_VERSION")),
            git_commit: "unknown".to_owned(),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
        }
    }
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Largest request body, in bytes; larger ones are answered 413 before they are read.
    pub body_bytes_max: usize,
    /// Most watches at a time; more are answered 429.
    pub watchers_max: usize,
    /// Wall time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Whether to warn about kinds that are stored but that nothing here acts on.
    pub warn_uncontrolled: bool,
    /// What `/version` says.
    pub version: VersionInfo,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: causeway_log::limits::BODY_BYTES_MAX,
            watchers_max: 1024,
            clock: crate::source::system_clock(),
            warn_uncontrolled: false,
            version: VersionInfo::default(),
        }
    }
}

/// The whole Kubernetes REST surface over a source.
pub fn router<S: Source>(source: Arc<S>, config: ServerConfig) -> axum::Router {
    let _ = (source, config);
    axum::Router::new()
}
