//! How far a run is, on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of virtual time; nothing when stderr is no terminal.
#[derive(Debug)]
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that is full at `end`.
    pub(super) fn to(end: Duration, name: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(millis(end)).with_message(name.to_owned());
        // A template that does not parse would be a slip of ours; the default one does as well.
        if let Ok(style) = ProgressStyle::with_template("  {msg} {wide_bar} {percent}% {elapsed}") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Time went on.
    pub(super) fn at(&self, now: Duration) {
        if let Some(bar) = &self.0 {
            bar.set_position(millis(now));
        }
    }

    /// Leaves a clean terminal.
    pub(super) fn clear(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
