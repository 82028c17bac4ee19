//! The programs: built from Go modules at pinned versions, kept by version outside of `target`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Overrides where programs are kept.
pub const CACHE_VARIABLE: &str = "CAUSEWAY_K8S_CACHE";

/// What is built, and the name it gets.
const PROGRAMS: [(&str, &str); 8] = [
    ("go.etcd.io/etcd/server/v3", "etcd"),
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
    (
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-controller-manager",
    ),
    ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
    ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
    ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
    ("helm.sh/helm/v3/cmd/helm", "helm"),
    ("causeway.dev/xtask/k8s/faults", "faults"),
];

/// Go packages that carry the version a program says of itself.
const VERSION_PACKAGES: [&str; 2] = [
    "k8s.io/component-base/version",
    "k8s.io/client-go/pkg/version",
];

/// How they are built; another recipe needs another text here.
const RECIPE: &str = "static, stripped, versions set";

/// Programs that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// The programs of the pinned versions, `None` when they were never built here.
    ///
    /// # Errors
    /// When the pinned versions cannot be read.
    pub fn find() -> Result<Option<Self>> {
        let dir = cache()?.join(key()?);
        let complete = PROGRAMS.iter().all(|(_, name)| dir.join(name).is_file());
        Ok(complete.then_some(Self { dir }))
    }

    /// The programs of the pinned versions, built when they are not there yet. `say` is told when
    /// that takes a while.
    ///
    /// # Errors
    /// When there is no Go toolchain, or something does not build.
    pub fn build(say: &mut dyn FnMut(&str)) -> Result<Self> {
        if let Some(built) = Self::find()? {
            return Ok(built);
        }
        let cache = cache()?;
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make {}", cache.display()))?;
        let lock = File::create(cache.join("lock")).context("cannot lock the cache")?;
        flock(&lock, FlockOperation::LockExclusive)?;
        // Somebody else may have built them meanwhile.
        if let Some(built) = Self::find()? {
            return Ok(built);
        }
        let go = go_version().context("building a control plane needs Go: https://go.dev/dl")?;
        let (key, version) = (key()?, version()?);
        say(&format!(
            "building Kubernetes {version} and etcd with {go}, once; some minutes"
        ));
        let fresh = cache.join(format!("{key}.new"));
        let _ = std::fs::remove_dir_all(&fresh);
        std::fs::create_dir_all(&fresh)?;
        compile(&fresh, &version)?;
        std::fs::rename(&fresh, cache.join(&key)).context("cannot move what was built")?;
        Self::find()?.context("what was built is not complete")
    }

    /// One of them.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A program of a client-go informer; built at the first call, which takes some seconds.
    ///
    /// # Errors
    /// When it does not build.
    pub fn informer(&self) -> Result<PathBuf> {
        let hash = xxhash_rust::xxh3::xxh3_64(source("informer/main.go")?.as_bytes());
        let path = self.dir.join(format!("informer-{hash:016x}"));
        let lock = File::create(cache()?.join("lock")).context("cannot lock the cache")?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if path.is_file() {
            return Ok(path);
        }
        let fresh = path.with_extension("new");
        go_build("-s -w", &fresh, &["causeway.dev/xtask/k8s/informer"])?;
        std::fs::rename(&fresh, &path).context("cannot move what was built")?;
        Ok(path)
    }

    /// Where they are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// What the Go toolchain of this machine says it is; `None` when there is none.
#[must_use]
pub fn go_version() -> Option<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION"])
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

/// The version of Kubernetes that is pinned.
///
/// # Errors
/// When `go.mod` names none.
pub fn version() -> Result<String> {
    let text = source("go.mod")?;
    let pinned = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"));
    let version = pinned.and_then(|rest| rest.split_whitespace().next());
    Ok(format!(
        "v{}",
        version.context("go.mod pins no Kubernetes")?
    ))
}

fn compile(into: &Path, version: &str) -> Result<()> {
    let mut flags = String::from("-s -w");
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    for package in VERSION_PACKAGES {
        for (name, value) in [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
        ] {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    go_build(
        &flags,
        &into.join(""),
        &PROGRAMS.map(|(package, _)| package),
    )?;
    // A program is named after its package, which for etcd is the folder before `v3`.
    std::fs::rename(into.join("server"), into.join("etcd")).context("no etcd was built")
}

/// Builds Go packages into a file, or into a directory.
fn go_build(flags: &str, into: &Path, packages: &[&str]) -> Result<()> {
    let mut build = Command::new("nice");
    build
        .args([
            "-n",
            "10",
            "go",
            "build",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
        ])
        .arg(into)
        .args(packages)
        .env("CGO_ENABLED", "0")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    let status = build.status().context("cannot run go")?;
    if !status.success() {
        bail!("go build failed; it needs the module proxy the first time");
    }
    Ok(())
}

/// Changes when anything that decides what is built does.
fn key() -> Result<String> {
    let mut text = RECIPE.to_owned();
    for name in ["go.mod", "go.sum", "faults/main.go"] {
        text.push_str(&source(name)?);
    }
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    Ok(format!("{}-{hash:016x}", version()?))
}

fn source(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(CACHE_VARIABLE) {
        return Ok(PathBuf::from(dir));
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("causeway").join("k8s"))
}
