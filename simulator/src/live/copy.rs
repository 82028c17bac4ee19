//! Copies of stores, as `snapshot` and `restore` take them.

use std::fs;
use std::io;
use std::path::Path;

/// How deep a store nests.
const DEPTH_MAX: usize = 16;

/// Makes `into` a copy of `from`. Sockets and other things that are no files are left out.
pub(super) fn copy(from: &Path, into: &Path) -> io::Result<()> {
    match fs::remove_dir_all(into) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => below(from, into, DEPTH_MAX),
    }
}

fn below(from: &Path, into: &Path, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("the store nests too deep"));
    }
    fs::create_dir_all(into)?;
    fs::set_permissions(into, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, into.join(entry.file_name()));
        if kind.is_dir() {
            below(&entry.path(), &target, depth - 1)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
