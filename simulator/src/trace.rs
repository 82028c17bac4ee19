//! What happened, one line per event, and its digest.
//!
//! Columns, separated by tabs: virtual time in microseconds; event; whom it concerns (`cloud`, a
//! node, or `-`); details, which may be empty. The same seed gives the same lines.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::rng::mix;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// One that keeps its lines; the default keeps only the digest.
    #[must_use]
    pub fn keeping() -> Self {
        Self {
            digest: 0,
            lines: Some(Vec::new()),
        }
    }

    pub(crate) fn of(keeps: bool) -> Self {
        match keeps {
            true => Self::keeping(),
            false => Self::default(),
        }
    }

    /// The lines, when they are kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// A digest of everything that happened.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Something happened.
    pub(crate) fn event(
        &mut self,
        at: Duration,
        event: &str,
        who: &str,
        detail: fmt::Arguments<'_>,
    ) {
        let mut hasher = Hasher(self.digest ^ u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        hasher.text(event);
        hasher.text(who);
        // Hashing cannot fail.
        let _ = hasher.write_fmt(detail);
        self.digest = mix(hasher.0);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{}\t{event}\t{who}\t{detail}", at.as_micros()));
        }
    }

    /// Something happened that is too frequent and too dull for a line.
    pub(crate) fn count(&mut self, at: Duration, kind: u64, value: u64) {
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.digest = mix(self.digest ^ at.rotate_left(17) ^ kind.rotate_left(41) ^ value);
    }
}

struct Hasher(u64);

impl Hasher {
    fn text(&mut self, text: &str) {
        for chunk in text.as_bytes().chunks(8) {
            let word = chunk
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.0 = mix(self.0 ^ word);
        }
    }
}

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}
