//! Small things done with files.

use std::fs;
use std::io;
use std::path::Path;

use super::layout::component;
use crate::runtime::RuntimeError;

/// The names in a directory of ours; none when it is not there.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, RuntimeError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(host_error("list", dir)(error)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| component("entry", name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

pub(super) fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // Other users may pass through (a container can run as one of them) but not look around.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
}

pub(super) fn host_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> RuntimeError {
    let path = path.to_owned();
    move |source| RuntimeError::Host {
        doing,
        path,
        source,
    }
}
