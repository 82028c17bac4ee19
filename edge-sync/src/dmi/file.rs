//! Where the desk is kept: one small file, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::desk::{FILE_BYTES_MAX, Saved, SavedError};

/// Its name in the directory of a node.
const NAME: &str = "mappers.json";

/// The file.
#[derive(Clone, Debug)]
pub(super) struct DeskFile {
    dir: PathBuf,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// Reading failed.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is there and says nothing that can be understood.
    #[error("cannot understand {}", path.display())]
    Content {
        path: PathBuf,
        #[source]
        source: SavedError,
    },
}

impl DeskFile {
    pub(super) fn in_dir(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// What was saved last; nobody when there is no file.
    ///
    /// # Errors
    /// [`FileError`]
    pub(super) fn load(&self) -> Result<Saved, FileError> {
        let path = self.path();
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let file = File::open(&path)?;
            // One byte more shows that there is more.
            file.take(FILE_BYTES_MAX as u64 + 1)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::empty()),
            Err(source) => return Err(FileError::Read { path, source }),
        };
        Saved::decode(&bytes).map_err(|source| FileError::Content { path, source })
    }

    /// Replaces the file. Durable when it returns.
    ///
    /// # Errors
    /// When the system refuses; then the file is what it was.
    pub(super) fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.dir.join(format!("{NAME}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(fresh, self.path())?;
        File::open(&self.dir)?.sync_all()
    }
}
