//! What really runs on a node: its containers' directories, and the processes that carry their mark.
//!
//! The directories are those of the process runtime of edged, described there; only what a person
//! would look at is read, and what is not understood is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::daemons::CONTAINER_MARK;
use crate::world::{ContainerState, PodState};

/// The link to the current files of a volume; a volume without it is not made of files.
const DATA: &str = "..data";
/// Longest file that is looked into.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of one volume that are looked into.
const FILES_MAX: usize = 512;

/// Directories of the attempts of which a process lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Living(BTreeSet<PathBuf>);

impl Living {
    /// Looks at every process of this machine.
    pub(super) fn look() -> Self {
        let Ok(processes) = fs::read_dir("/proc") else {
            return Self::default();
        };
        let marks = processes.flatten().filter_map(|entry| {
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            // Of a process that ends, or of another user, there is nothing to read.
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let mut entries = environment.split(|byte| *byte == 0);
            let mark = entries.find_map(|entry| entry.strip_prefix(CONTAINER_MARK))?;
            Some(PathBuf::from(String::from_utf8_lossy(mark).into_owned()))
        });
        Self(marks.collect())
    }

    /// Attempts of a pod that live, by container: their numbers.
    fn of(&self, containers: &Path) -> BTreeMap<String, BTreeSet<u32>> {
        let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for mark in &self.0 {
            if mark.parent() == Some(containers)
                && let Some((name, attempt)) =
                    mark.file_name().and_then(|name| attempt(name.to_str()?))
            {
                found.entry(name).or_default().insert(attempt);
            }
        }
        found
    }
}

/// `main.3`: the name of a container and the number of its start.
fn attempt(directory: &str) -> Option<(String, u32)> {
    let (name, number) = directory.rsplit_once('.')?;
    Some((name.to_owned(), number.parse().ok()?))
}

/// The pods in the directory of a kubelet. `spec` gives the names of the containers that a pod, by
/// uid, is made of.
pub(super) fn pods(
    kubelet: &Path,
    living: &Living,
    spec: impl Fn(&str) -> Option<Vec<String>>,
) -> Vec<PodState> {
    let run = kubelet.join("run");
    let mut uids: BTreeSet<String> = names(&run).into_iter().collect();
    // One whose directory is gone is found by its processes.
    let of_mark = |mark: &PathBuf| {
        let below = mark.strip_prefix(&run).ok()?;
        Some(below.components().next()?.as_os_str().to_str()?.to_owned())
    };
    uids.extend(living.0.iter().filter_map(of_mark));
    let pods = uids.into_iter();
    let mut pods: Vec<PodState> = pods
        .filter_map(|uid| pod(kubelet, &uid, living, spec(&uid)))
        .collect();
    pods.sort_by(|a, b| {
        let key = |pod: &PodState| (pod.namespace.clone(), pod.name.clone(), pod.uid.clone());
        key(a).cmp(&key(b))
    });
    pods
}

fn pod(kubelet: &Path, uid: &str, living: &Living, spec: Option<Vec<String>>) -> Option<PodState> {
    let dir = kubelet.join("run").join(uid);
    let place = dir.join("containers");
    let alive = living.of(&place);
    let sandbox = json(&dir.join("sandbox.json"));
    if sandbox.is_none() && alive.is_empty() {
        // Made halfway: nothing was started in it.
        return None;
    }
    let sandbox = sandbox.unwrap_or_default();
    let text = |field: &str| sandbox["config"][field].as_str().unwrap_or("?").to_owned();
    let mut newest: BTreeMap<String, u32> = BTreeMap::new();
    for (name, number) in names(&place).iter().filter_map(|name| attempt(name)) {
        let best = newest.entry(name).or_insert(number);
        *best = number.max(*best);
    }
    for (name, numbers) in &alive {
        let last = numbers.last().copied().unwrap_or(0);
        let best = newest.entry(name.clone()).or_insert(last);
        *best = last.max(*best);
    }
    let runs = |name: &String| alive.get(name).is_some_and(|numbers| !numbers.is_empty());
    let running = match &spec {
        Some(spec) => !spec.is_empty() && spec.iter().all(runs),
        None => !newest.is_empty() && newest.keys().all(runs),
    };
    let containers = newest.into_iter().map(|(name, number)| {
        let copies = alive.get(&name).map_or(0, BTreeSet::len);
        container(&place, name, number, copies)
    });
    Some(PodState {
        namespace: text("namespace"),
        name: text("name"),
        uid: uid.to_owned(),
        running,
        containers: containers.collect(),
        files: files(&kubelet.join("volumes").join(uid)),
    })
}

fn container(place: &Path, name: String, attempt: u32, copies: usize) -> ContainerState {
    let launch = json(&place.join(format!("{name}.{attempt}")).join("config.json"));
    let config = launch.map(|mut launch| launch["config"].take());
    let config = config.unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .collect()
    };
    let env = config["env"].as_array().into_iter().flatten();
    let env = env.filter_map(|pair| {
        Some((
            pair.get(0)?.as_str()?.to_owned(),
            pair.get(1)?.as_str()?.to_owned(),
        ))
    });
    ContainerState {
        image: config["image"].as_str().unwrap_or_default().to_owned(),
        command: [texts(&config["command"]), texts(&config["args"])].concat(),
        env: env.collect(),
        copies,
        restarts: attempt,
        name,
    }
}

/// What the volumes of a pod show, by volume and file.
fn files(volumes: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for volume in names(volumes) {
        let data = volumes.join(&volume).join(DATA);
        if fs::symlink_metadata(&data).is_ok() {
            walk(&data, &volume, &mut found);
        }
    }
    found
}

fn walk(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for name in names(dir) {
        if found.len() >= FILES_MAX {
            return;
        }
        let (path, key) = (dir.join(&name), format!("{prefix}/{name}"));
        match fs::metadata(&path) {
            Ok(about) if about.is_dir() => walk(&path, &key, found),
            Ok(_) => {
                if let Some(bytes) = read(&path) {
                    found.insert(key, String::from_utf8_lossy(&bytes).into_owned());
                }
            }
            Err(_) => {}
        }
    }
}

/// The names in a directory; none when it cannot be read, or is gone by now.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&read(path)?).ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_read_from_the_directories_and_run_by_their_processes() {
        let scratch = std::env::temp_dir().join(format!("causeway-look-{}", std::process::id()));
        let containers = scratch.join("run/uid-1/containers");
        for attempt in ["main.0", "main.1"] {
            fs::create_dir_all(containers.join(attempt)).unwrap();
        }
        let sandbox = r#"{"config": {"uid": "uid-1", "namespace": "prod", "name": "web"}}"#;
        fs::write(scratch.join("run/uid-1/sandbox.json"), sandbox).unwrap();
        let config = r#"{"config": {"image": "web:2", "command": ["/web"], "args": ["-v"],
            "env": [["MODE", "fast"]]}}"#;
        fs::write(containers.join("main.1/config.json"), config).unwrap();
        let volume = scratch.join("volumes/uid-1/settings");
        fs::create_dir_all(volume.join("..1/deep")).unwrap();
        fs::write(volume.join("..1/mode"), "fast").unwrap();
        fs::write(volume.join("..1/deep/er"), "x").unwrap();
        std::os::unix::fs::symlink("..1", volume.join(DATA)).unwrap();

        let living = Living([containers.join("main.1"), containers.join("main.0")].into());
        let shown = pods(&scratch, &living, |_| Some(vec!["main".to_owned()]));
        let [pod] = shown.as_slice() else {
            panic!("{shown:?}")
        };
        assert_eq!((&*pod.namespace, &*pod.name), ("prod", "web"));
        assert!(pod.running);
        let [main] = pod.containers.as_slice() else {
            panic!("{pod:?}")
        };
        assert_eq!((main.copies, main.restarts), (2, 1));
        assert_eq!(main.env, [("MODE".to_owned(), "fast".to_owned())]);
        assert_eq!(main.command, ["/web", "-v"]);
        assert_eq!(pod.files["settings/mode"], "fast");
        assert_eq!(pod.files["settings/deep/er"], "x");

        let two = pods(&scratch, &living, |_| {
            Some(vec!["main".to_owned(), "log".to_owned()])
        });
        assert!(!two[0].running, "the second container was never started");
        let none = pods(&scratch, &Living::default(), |_| None);
        assert!(!none[0].running);
        fs::remove_dir_all(&scratch).unwrap();
        let orphan = pods(&scratch, &living, |_| None);
        assert_eq!((orphan.len(), &*orphan[0].name), (1, "?"));
    }
}
