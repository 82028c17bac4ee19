//! Live progress: a spinner on a terminal, plain lines elsewhere. All of it on stderr.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::talk;

/// The steps of a start, one at a time.
#[derive(Debug)]
pub(super) struct Steps {
    terminal: bool,
    current: Option<ProgressBar>,
    begun: Instant,
}

impl Steps {
    /// No step yet.
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            current: None,
            begun: Instant::now(),
        }
    }

    /// A step begins.
    pub(super) fn begin(&mut self, what: impl Into<String>) {
        self.clear();
        self.begun = Instant::now();
        if self.terminal {
            let spinner = ProgressBar::new_spinner().with_message(what.into());
            // A template that does not parse would be a slip of ours; the default one does as well.
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            self.current = Some(spinner);
        }
    }

    /// The step is over.
    pub(super) fn done(&mut self, what: String) {
        self.clear();
        let seconds = self.begun.elapsed().as_secs_f64();
        talk(format_args!("  ✓ {what} ({seconds:.1} s)"));
    }

    /// Something worth knowing, besides the steps.
    pub(super) fn notice(&mut self, what: String) {
        match &self.current {
            Some(spinner) => spinner.suspend(|| talk(format_args!("  · {what}"))),
            None => talk(format_args!("  · {what}")),
        }
    }

    /// Leaves a clean terminal.
    pub(super) fn clear(&mut self) {
        if let Some(spinner) = self.current.take() {
            spinner.finish_and_clear();
        }
    }
}
