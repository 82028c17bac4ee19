//! An ERROR event is somebody's call for help: in a world, nobody should need to call. What is
//! expected under faults is logged at WARN.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Catches the ERROR events of a thread while something runs on it. Clones share what they caught.
#[derive(Clone)]
pub struct Errors {
    caught: Arc<Mutex<Vec<String>>>,
    dispatch: Dispatch,
}

impl Errors {
    /// None so far.
    #[must_use]
    pub fn new() -> Self {
        let caught = Arc::new(Mutex::new(Vec::new()));
        let dispatch = Dispatch::new(Catcher(Arc::clone(&caught)));
        Self { caught, dispatch }
    }

    /// Runs with the events of this thread caught.
    pub fn catch<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, run)
    }

    /// The first event, if there was one; forgets them.
    #[must_use]
    pub fn take(&self) -> Option<String> {
        let caught = std::mem::take(&mut *self.caught.lock());
        caught.into_iter().next()
    }
}

impl Default for Errors {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.caught.lock()).finish()
    }
}

struct Catcher(Arc<Mutex<Vec<String>>>);

impl Subscriber for Catcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::ERROR)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().target().to_owned());
        event.record(&mut text);
        self.0.lock().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}
