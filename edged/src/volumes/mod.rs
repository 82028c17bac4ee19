//! Volumes of pods as directories of the host, the same for every runtime.
//!
//! ```text
//! <dir>/volumes/<pod uid>/
//!     .written                 hash of what the volumes hold, written last
//!     <emptyDir volume>/
//!     <configMap volume>/
//!         ..<hash>/key         the files
//!         ..data -> ..<hash>   replaced by rename: all files change at one moment
//!         key -> ..data/key
//! ```
//!
//! Files are laid out and replaced as the kubelet does it, so whoever watches `..data` to notice
//! a change of config can do so here too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use crate::pod::{File, Volume, VolumeMount, VolumeSource, hash_all};
use crate::runtime::Mount;

/// Holds the hash of a pod's volumes. No volume can have this name.
const WRITTEN: &str = ".written";
/// Names the directory of the current files.
const DATA: &str = "..data";
/// Becomes [`DATA`] by rename.
const DATA_STAGED: &str = "..data_tmp";

/// The volumes of all pods of this node.
#[derive(Clone, Debug)]
pub struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    /// Volumes kept below `dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let dir = std::path::absolute(dir)?.join("volumes");
        fs::create_dir_all(&dir)?;
        // Others may pass through, for containers that run as another user, but not look around.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))?;
        Ok(Self { dir })
    }

    /// The pods that have volumes here, by uid.
    ///
    /// # Errors
    /// The host's.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.dir)?.flatten();
        Ok(entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    /// What the volumes of a pod hold; 0 when they were not written to the end, `None` when it has
    /// none here.
    ///
    /// # Errors
    /// The host's.
    pub fn written(&self, uid: &str) -> io::Result<Option<u64>> {
        let Ok(dir) = self.of(uid) else {
            return Ok(None);
        };
        match fs::read_to_string(dir.join(WRITTEN)) {
            Ok(written) => Ok(Some(u64::from_str_radix(&written, 16).unwrap_or(0))),
            Err(_) => Ok(fs::exists(&dir)?.then_some(0)),
        }
    }

    /// Makes the volumes of a pod hold what they should. Idempotent.
    ///
    /// # Errors
    /// The host's; some volumes may be written then, each of them whole.
    pub fn write(&self, uid: &str, volumes: &[Volume]) -> io::Result<()> {
        let dir = self.of(uid)?;
        fs::create_dir_all(&dir)?;
        for volume in volumes {
            let place = dir.join(plain(&volume.name)?);
            match &volume.source {
                VolumeSource::Empty => {
                    fs::create_dir_all(&place)?;
                    fs::set_permissions(&place, fs::Permissions::from_mode(0o777))?;
                }
                VolumeSource::Host { path, create: true } => fs::create_dir_all(path)?,
                VolumeSource::Host { .. } => {}
                VolumeSource::Files(files) => {
                    write_files(&place, &format!("..{:016x}", volume.hash()), files)?;
                }
            }
        }
        let staged = dir.join(".written.tmp");
        fs::write(&staged, format!("{:x}", hash_all(volumes)))?;
        fs::rename(staged, dir.join(WRITTEN))
    }

    /// What a container sees of the volumes.
    ///
    /// # Errors
    /// When a mount names no volume, or a part of one that leads out of it.
    pub fn mounts(
        &self,
        uid: &str,
        volumes: &[Volume],
        mounts: &[VolumeMount],
    ) -> io::Result<Vec<Mount>> {
        mounts
            .iter()
            .map(|mount| self.mount(uid, volumes, mount))
            .collect()
    }

    fn mount(&self, uid: &str, volumes: &[Volume], mount: &VolumeMount) -> io::Result<Mount> {
        let volume = volumes.iter().find(|volume| volume.name == mount.volume);
        let missing = || invalid(format!("no volume {:?}", mount.volume));
        let volume = volume.ok_or_else(missing)?;
        let whole = match &volume.source {
            VolumeSource::Host { path, .. } => path.clone(),
            VolumeSource::Empty | VolumeSource::Files(_) => {
                self.of(uid)?.join(plain(&volume.name)?)
            }
        };
        let part = Path::new(&mount.sub_path);
        if part
            .components()
            .any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(invalid(format!(
                "subPath {:?} leads out of the volume",
                mount.sub_path
            )));
        }
        let host_path = if mount.sub_path.is_empty() {
            whole
        } else {
            whole.join(part)
        };
        if volume.source == VolumeSource::Empty {
            fs::create_dir_all(&host_path)?;
        }
        let container_path = mount.path.clone();
        Ok(Mount {
            container_path,
            host_path,
            read_only: mount.read_only,
        })
    }

    /// Takes the volumes of a pod away. Paths of the host stay as they are.
    ///
    /// # Errors
    /// The host's.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.of(uid)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn of(&self, uid: &str) -> io::Result<PathBuf> {
        Ok(self.dir.join(plain(uid)?))
    }
}

/// Replaces the files of a volume, all at one moment.
fn write_files(place: &Path, version: &str, files: &BTreeMap<String, File>) -> io::Result<()> {
    fs::create_dir_all(place)?;
    let data = place.join(DATA);
    let current = fs::read_link(&data).ok();
    if current.as_deref() != Some(Path::new(version)) {
        let fresh = place.join(version);
        // A write that was interrupted.
        gone(fs::remove_dir_all(&fresh))?;
        fs::create_dir(&fresh)?;
        for (path, file) in files {
            write_file(&fresh.join(path), file)?;
        }
        let staged = place.join(DATA_STAGED);
        gone(fs::remove_file(&staged))?;
        symlink(version, &staged)?;
        fs::rename(&staged, &data)?;
    }
    let shown: BTreeSet<&str> = files
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect();
    for name in &shown {
        let link = place.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(place)?.flatten() {
        let name = entry.file_name();
        let keep = name
            .to_str()
            .is_some_and(|name| name == DATA || name == version || shown.contains(name));
        if keep {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(file.mode)
        .open(path)?;
    written.write_all(&file.content)?;
    // The umask may have taken bits away.
    written.set_permissions(fs::Permissions::from_mode(file.mode))?;
    // The hash that says it is there must not outlive it.
    written.sync_data()
}

/// A name that is one component of a path.
fn plain(name: &str) -> io::Result<&str> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name && !name.starts_with('.') => Ok(name),
        _ => Err(invalid(format!("{name:?} cannot name a directory"))),
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests;
