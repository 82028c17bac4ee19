//! List, then watch, for ever.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::limits::{PAGE_OBJECTS, RETRY_MAX, RETRY_MIN};
use super::{ApiError, Client, Gvr, ListOptions, Watch, WatchEvent};

/// What a [`Reflector`] tells.
#[derive(Debug)]
pub enum Reflected {
    /// These are all objects now: whatever else was known is gone.
    Replace(Vec<Value>),
    /// This object is new or changed.
    Applied(Value),
    /// This object is gone; its last state.
    Deleted(Value),
    /// The API cannot be reached, or refuses; what is known may be old. It is tried again by itself.
    Interrupted {
        /// Why.
        error: ApiError,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// Follows one collection: all objects first, then every change. Resumes a broken watch after the
/// last version seen; lists again only when the server no longer has it (410). Cancel-safe.
pub struct Reflector {
    client: Client,
    gvr: Gvr,
    namespace: String,
    options: ListOptions,
    state: State,
    failures: u32,
    /// Not before this moment is the server asked again.
    not_before: Option<tokio::time::Instant>,
}

enum State {
    /// Nothing is known.
    Unlisted,
    /// Everything up to this version is known.
    Listed(String),
    /// A watch runs; the version up to which everything is known.
    Watching(Watch, String),
}

impl fmt::Debug for Reflector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflector")
            .field("gvr", &self.gvr)
            .finish_non_exhaustive()
    }
}

impl Reflector {
    pub(super) fn new(client: Client, gvr: Gvr, namespace: String, options: ListOptions) -> Self {
        Self {
            client,
            gvr,
            namespace,
            options,
            state: State::Unlisted,
            failures: 0,
            not_before: None,
        }
    }

    /// Waits for the next thing to tell. Never ends.
    pub async fn next(&mut self) -> Reflected {
        loop {
            if let Some(moment) = self.not_before {
                tokio::time::sleep_until(moment).await;
                self.not_before = None;
            }
            match self.step().await {
                Ok(Some(told)) => return told,
                Ok(None) => {}
                Err(error) => {
                    let retry_in = self.fail(&error);
                    return Reflected::Interrupted { error, retry_in };
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Reflected>, ApiError> {
        match &mut self.state {
            State::Unlisted => {
                let options = ListOptions {
                    limit: PAGE_OBJECTS,
                    resource_version: String::new(),
                    ..self.options.clone()
                };
                let list = self
                    .client
                    .list_all(&self.gvr, &self.namespace, &options)
                    .await?;
                self.state = State::Listed(list.resource_version);
                Ok(Some(Reflected::Replace(list.items)))
            }
            State::Listed(version) => {
                let options = ListOptions {
                    resource_version: version.clone(),
                    ..self.options.clone()
                };
                let watch = self
                    .client
                    .watch(&self.gvr, &self.namespace, &options)
                    .await?;
                self.state = State::Watching(watch, options.resource_version);
                Ok(None)
            }
            State::Watching(watch, version) => match watch.next().await {
                None => {
                    // A server that ends every watch at once must not be asked in a tight loop.
                    self.failures = self.failures.saturating_add(1);
                    if self.failures > 1 {
                        let pause = backoff(self.failures - 1);
                        self.not_before = Some(tokio::time::Instant::now() + pause);
                    }
                    self.state = State::Listed(std::mem::take(version));
                    Ok(None)
                }
                Some(event) => {
                    let event = event?;
                    self.failures = 0;
                    if !event.resource_version().is_empty() {
                        event.resource_version().clone_into(version);
                    }
                    Ok(match event {
                        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                            Some(Reflected::Applied(object))
                        }
                        WatchEvent::Deleted(object) => Some(Reflected::Deleted(object)),
                        WatchEvent::Bookmark { .. } => None,
                    })
                }
            },
        }
    }

    /// Leaves the state from which to try again, and says after how long.
    fn fail(&mut self, error: &ApiError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let state = std::mem::replace(&mut self.state, State::Unlisted);
        let gone = error.is_gone();
        self.state = match state {
            State::Unlisted => State::Unlisted,
            State::Listed(_) | State::Watching(..) if gone => State::Unlisted,
            State::Listed(version) | State::Watching(_, version) => State::Listed(version),
        };
        // Too old a version is no trouble of the server: list again at once, the first time.
        let pause = if gone && self.failures == 1 {
            Duration::ZERO
        } else {
            backoff(self.failures)
        };
        self.not_before = Some(tokio::time::Instant::now() + pause);
        pause
    }
}

/// Exponential with full jitter, at least a quarter of the minimum.
fn backoff(failures: u32) -> Duration {
    let ceiling = RETRY_MIN
        .saturating_mul(1 << failures.min(10).saturating_sub(1))
        .min(RETRY_MAX);
    RETRY_MIN / 4 + ceiling.mul_f64(fastrand::f64())
}
