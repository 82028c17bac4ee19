//! How far a run is, on a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use causeway_simulator::scenario::span::show;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar of the time of a scenario; nothing when stderr is no terminal.
#[derive(Debug)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    /// Its message tells the time, because a bar of days stands still for minutes.
    live: Option<(String, Duration)>,
}

impl Bar {
    /// A bar that is full at `end`.
    pub(super) fn to(end: Duration, name: &str) -> Self {
        let template = "  {msg} {wide_bar} {percent}% {elapsed}";
        let bar = styled(ProgressBar::new(millis(end)), template);
        Self {
            bar: bar.map(|bar| bar.with_message(name.to_owned())),
            live: None,
        }
    }

    /// A line that says what time it is in a scenario that runs live.
    pub(super) fn live(name: &str, end: Duration) -> Self {
        let bar = styled(ProgressBar::new_spinner(), "  {spinner} {msg} ({elapsed})");
        if let Some(bar) = &bar {
            bar.set_message(format!("{name}: starting"));
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self {
            bar,
            live: Some((name.to_owned(), end)),
        }
    }

    /// Time went on.
    pub(super) fn at(&self, now: Duration) {
        match (&self.bar, &self.live) {
            (Some(bar), Some((name, end))) => {
                let (now, end) = (show(now), show(*end));
                bar.set_message(format!("{name}: {now} of {end}"));
            }
            (Some(bar), None) => bar.set_position(millis(now)),
            (None, _) => {}
        }
    }

    /// Leaves a clean terminal.
    pub(super) fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The bar in this style when stderr is a terminal.
fn styled(bar: ProgressBar, template: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    // A template that does not parse would be a slip of ours; the default one does as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Some(bar)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
