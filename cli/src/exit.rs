//! How the command ends: codes that scripts may rely on, and errors that carry one.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use causeway_simulator::http::HttpError;
use http::StatusCode;

use crate::output::talk;
use crate::up::PlaneError;

/// What `--help` says of the codes.
pub(crate) const HELP: &str = "\
Exit codes:
   0  done
   1  failed
   2  a difference was found (digest)
  64  the command line is wrong
  69  nothing answers at the address, or nothing runs in the directory
  78  the configuration is wrong";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// `digest` found a difference.
    Different,
    /// The command line is wrong.
    Usage,
    /// Nobody answers.
    Unavailable,
    /// The configuration is wrong.
    Config,
}

impl Code {
    const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Different => 2,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Config => 78,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// An error with a code of its own and, where there is one, a way out.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Coded {
    code: Code,
    what: String,
    hint: Option<String>,
}

impl Coded {
    /// Something in the command line is wrong.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self {
            code: Code::Usage,
            what: what.into(),
            hint: None,
        }
    }

    /// Nobody answers.
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self {
            code: Code::Unavailable,
            what: what.into(),
            hint: None,
        }
    }

    /// The configuration is wrong.
    pub(crate) fn config(what: impl Into<String>) -> Self {
        Self {
            code: Code::Config,
            what: what.into(),
            hint: None,
        }
    }

    /// It did not work.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self {
            code: Code::Failed,
            what: what.into(),
            hint: None,
        }
    }

    /// The same with a way out.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// Says on stderr what went wrong, once, with everything that caused it.
pub(crate) fn report(result: Result<Code, Error>) -> ExitCode {
    let error = match result {
        Ok(code) => return code.into(),
        Err(error) => error,
    };
    // Whoever reads our output has seen enough, as `head` does.
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
    {
        return Code::Done.into();
    }
    talk(format!("causeway: {error:#}"));
    let coded = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Coded>());
    if let Some(hint) = coded.and_then(|coded| coded.hint.as_deref()) {
        talk(format!("hint: {hint}"));
    }
    let http: Vec<&HttpError> = error.chain().filter_map(http_error).collect();
    let is_unauthorized = |error: &&HttpError| error.status() == Some(StatusCode::UNAUTHORIZED);
    if http.iter().any(is_unauthorized) {
        talk(
            "hint: say --token-file=PATH, the file api-token of the node's directory, or use its socket",
        );
    }
    let unreachable = http
        .iter()
        .any(|error| matches!(error, HttpError::Connect { .. }));
    match coded {
        Some(coded) => coded.code.into(),
        None if unreachable => Code::Unavailable.into(),
        None => Code::Failed.into(),
    }
}

fn http_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a HttpError> {
    if let Some(PlaneError::Own(error)) = cause.downcast_ref() {
        return Some(error);
    }
    cause.downcast_ref()
}
