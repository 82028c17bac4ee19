//! Log lines for people and for journald: text on stderr, one line an event.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Time, level, message, fields.
    #[default]
    Full,
    /// Without the time: whoever collects the lines (journald) stamps them.
    Bare,
}

/// The least important lines shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something is lost or broken.
    Error,
    /// Something is wrong but handled.
    Warn,
    /// What an operator wants to know on a good day.
    #[default]
    Info,
    /// For whoever looks into one daemon.
    Debug,
    /// Everything.
    Trace,
}

/// A word that names no [`Level`] or [`LogFormat`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {expected}")]
pub struct UnknownWord {
    expected: &'static str,
}

impl FromStr for Level {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Ok(match text {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => {
                return Err(UnknownWord {
                    expected: "error, warn, info, debug, trace",
                });
            }
        })
    }
}

impl FromStr for LogFormat {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Ok(match text {
            "full" => Self::Full,
            "bare" => Self::Bare,
            _ => {
                return Err(UnknownWord {
                    expected: "full, bare",
                });
            }
        })
    }
}

impl LogFormat {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Bare => "bare",
        }
    }
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Sends log lines of this process to stderr. The storage engine is held to warnings unless
/// everything is asked for. A second call changes nothing (tests, several daemons in one process).
pub fn init(format: LogFormat, level: Level) {
    let library = if level == Level::Trace {
        LevelFilter::TRACE
    } else {
        LevelFilter::WARN
    };
    let silent = if level == Level::Trace {
        LevelFilter::TRACE
    } else {
        LevelFilter::OFF
    };
    let targets = Targets::new()
        .with_default(level.filter())
        .with_target("fjall", library)
        .with_target("lsm_tree", library)
        .with_target("hyper", library)
        // Tells of every call that fails, as an error, before whoever called can say what it means.
        .with_target("kube_client::client::builder", silent);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(level.filter() >= LevelFilter::DEBUG)
        .compact();
    let registry = tracing_subscriber::registry().with(targets);
    // The error says that lines already go somewhere.
    let _ = match format {
        LogFormat::Full => registry.with(lines).try_init(),
        LogFormat::Bare => registry.with(lines.without_time()).try_init(),
    };
}

/// An error with everything that caused it, on one line: `cannot open: disk full: os error 28`.
pub fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut line = Line(f);
        write!(line, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(line, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Text of which every run of line ends is a space: some libraries draw what is wrong.
struct Line<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut pieces = text.split(['\n', '\r']);
        self.0.write_str(pieces.next().unwrap_or_default())?;
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            write!(self.0, " {piece}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
