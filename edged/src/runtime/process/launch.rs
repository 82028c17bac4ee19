//! Turns a container's configuration into something the host can run.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::NAME;
use super::files::host_error;
use super::record::{Launch, MARK};
use crate::config::ProcessConfig;
use crate::runtime::{ContainerConfig, Mount, RuntimeError, SandboxConfig};

/// Searched for programs when the pod does not say otherwise.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a new attempt is made of.
pub(super) struct Attempt<'a> {
    /// Marks its processes.
    pub(super) mark: String,
    pub(super) pod: &'a SandboxConfig,
    pub(super) config: &'a ContainerConfig,
    pub(super) root: PathBuf,
    pub(super) log: PathBuf,
}

/// Decides what to run. The image plays no part, so there must be a command.
pub(super) fn launch(
    attempt: Attempt<'_>,
    settings: &ProcessConfig,
) -> Result<Launch, RuntimeError> {
    let Attempt {
        mark,
        pod,
        config,
        root,
        log,
    } = attempt;
    let root_text = root.to_string_lossy().into_owned();
    let expand = |text: &String| text.replace("$(POD_ROOT)", &root_text);
    let argv: Vec<String> = config
        .command
        .iter()
        .chain(&config.args)
        .map(expand)
        .collect();
    if config.command.is_empty() {
        return Err(RuntimeError::Unsupported {
            runtime: NAME,
            what: format!(
                "the entry point of image {:?} (give a command)",
                config.image
            ),
        });
    }
    let mut env = vec![
        ("PATH".to_owned(), PATH_DEFAULT.to_owned()),
        ("HOSTNAME".to_owned(), pod.name.clone()),
        ("HOME".to_owned(), root_text.clone()),
    ];
    env.extend(
        config
            .env
            .iter()
            .map(|(name, value)| (name.clone(), expand(value))),
    );
    env.push(("POD_ROOT".to_owned(), root_text.clone()));
    env.push((MARK.to_owned(), mark));
    let directory = match &config.working_dir {
        Some(inside) => below(&root, &expand(inside).replacen(&root_text, "", 1))?,
        None => root,
    };
    Ok(Launch {
        pod: pod.uid.clone(),
        config: config.clone(),
        argv,
        env,
        directory,
        log,
        log_bytes_max: settings.log_bytes_max,
        log_files_max: settings.log_files_max,
    })
}

/// Makes the container's root: a directory with a link for each mount. Idempotent.
pub(super) fn furnish(root: &Path, mounts: &[Mount]) -> Result<(), RuntimeError> {
    fs::create_dir_all(root).map_err(host_error("create", root))?;
    for mount in mounts {
        let place = below(root, &mount.container_path)?;
        let parent = place.parent().unwrap_or(root);
        refuse_links(root, parent)?;
        fs::create_dir_all(parent).map_err(host_error("create", parent))?;
        link(&mount.host_path, &place).map_err(host_error("link", &place))?;
    }
    Ok(())
}

/// Makes a working directory that no mount provides.
pub(super) fn ensure_directory(directory: &Path) -> Result<(), RuntimeError> {
    fs::create_dir_all(directory).map_err(host_error("create", directory))
}

/// A path inside the container as one of the host.
fn below(root: &Path, inside: &str) -> Result<PathBuf, RuntimeError> {
    let mut place = root.to_owned();
    for component in Path::new(inside).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => place.push(name),
            Component::ParentDir | Component::Prefix(_) => {
                let what = format!("the path {inside:?}, which leads upwards,");
                return Err(RuntimeError::Unsupported {
                    runtime: NAME,
                    what,
                });
            }
        }
    }
    Ok(place)
}

/// A mount below another mount would be made inside the other's volume, for all to see.
fn refuse_links(root: &Path, place: &Path) -> Result<(), RuntimeError> {
    for ancestor in place.ancestors().take_while(|ancestor| *ancestor != root) {
        let is_link = fs::symlink_metadata(ancestor).is_ok_and(|found| found.is_symlink());
        if is_link {
            let inside = ancestor.strip_prefix(root).unwrap_or(ancestor);
            let what = format!("a mount below the mount at /{}", inside.display());
            return Err(RuntimeError::Unsupported {
                runtime: NAME,
                what,
            });
        }
    }
    Ok(())
}

fn link(target: &Path, place: &Path) -> io::Result<()> {
    match fs::read_link(place) {
        Ok(found) if found == target => return Ok(()),
        Ok(_) => fs::remove_file(place)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    symlink(target, place)
}
