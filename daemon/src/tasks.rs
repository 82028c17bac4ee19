//! Named tasks with an owner, and the token that asks them to stop.
//!
//! ```text
//!   Shutdown::begin ──▶ Stop::wait returns in every task ──▶ owners join or drop their tasks
//! ```

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running task. Dropping it aborts the task at its next await.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct Task<T = ()> {
    name: &'static str,
    handle: JoinHandle<Option<T>>,
}

/// Runs `future` as a task of the current runtime. A panic inside is logged at ERROR under `name`;
/// it ends this task only (release builds abort on panic).
pub fn spawn<T, F>(name: &'static str, future: F) -> Task<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    // Combinators, not an async block: that would keep the future twice, and there are many.
    let supervised = AssertUnwindSafe(future)
        .catch_unwind()
        .map(move |ended| match ended {
            Ok(value) => Some(value),
            Err(panic) => {
                let what = panic_text(panic.as_ref());
                tracing::error!(task = name, panic = what, "task panicked");
                None
            }
        });
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where tasks get name and owner"
    )]
    let handle = tokio::spawn(supervised);
    Task { name, handle }
}

impl<T> Task<T> {
    /// The name given at spawn.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end; `None` when the task panicked.
    pub async fn join(mut self) -> Option<T> {
        (&mut self.handle).await.ok().flatten()
    }

    /// Waits for the end at most `limit`, then aborts. `None` when it was aborted or panicked.
    pub async fn join_within(mut self, limit: Duration) -> Option<T> {
        if let Ok(ended) = tokio::time::timeout(limit, &mut self.handle).await {
            return ended.ok().flatten();
        }
        tracing::warn!(
            task = self.name,
            ?limit,
            "task did not stop in time; aborting it"
        );
        None
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}

/// Where stopping begins. Clones are the same shutdown. Dropping the last one stops too, so that
/// no task outlives its daemon unnoticed.
#[derive(Clone, Debug)]
pub struct Shutdown {
    begun: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A shutdown that begins at SIGTERM or SIGINT. Needs a runtime with signals enabled.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<(Self, Task)> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let shutdown = Self::new();
        let begun = Arc::clone(&shutdown.begun);
        let task = spawn("signals", async move {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            begun.send_replace(true);
        });
        Ok((shutdown, task))
    }

    /// Asks everything to stop. Idempotent.
    pub fn begin(&self) {
        self.begun.send_replace(true);
    }

    /// A token for one task.
    #[must_use]
    pub fn token(&self) -> Stop {
        Stop {
            begun: self.begun.subscribe(),
        }
    }
}

/// Tells a task to stop. Clones are the same token.
#[derive(Clone, Debug)]
pub struct Stop {
    begun: watch::Receiver<bool>,
}

impl Stop {
    /// Whether to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self.begun.borrow() || self.begun.has_changed().is_err()
    }

    /// Returns when it is time to stop, at once if it already is. Cancel-safe.
    pub async fn wait(&mut self) {
        // An error says that every `Shutdown` is gone, which is a shutdown too.
        let _ = self.begun.wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests;
