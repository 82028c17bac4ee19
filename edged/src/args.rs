//! The command line of the `edged` binary: `edged [--check-config] CONFIG.toml`.

use std::path::Path;

use causeway_daemon::telemetry::error_chain;

use crate::config::EdgedConfig;

/// What the command line asks for.
#[derive(Debug)]
pub enum Ask {
    /// Run with this configuration.
    Run(Box<EdgedConfig>),
    /// Only say whether the configuration is right, which it is.
    Check,
}

/// The command line cannot be followed.
#[derive(Debug)]
pub struct Refused {
    /// Why, for people.
    pub message: String,
    /// The exit code: 64 usage, 78 configuration.
    pub code: u8,
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// When they are not understood, or the file they name is not right.
pub fn read(args: impl IntoIterator<Item = String>) -> Result<Ask, Refused> {
    let (flags, files): (Vec<String>, Vec<String>) =
        args.into_iter().partition(|word| word.starts_with("--"));
    let check = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check-config"] => true,
        _ => return Err(usage()),
    };
    let [file] = files.as_slice() else {
        return Err(usage());
    };
    let config = EdgedConfig::load(Path::new(file)).map_err(|error| Refused {
        message: error_chain(&error).to_string(),
        code: 78,
    })?;
    Ok(if check {
        Ask::Check
    } else {
        Ask::Run(Box::new(config))
    })
}

fn usage() -> Refused {
    Refused {
        message: "usage: edged [--check-config] CONFIG.toml".to_owned(),
        code: 64,
    }
}
