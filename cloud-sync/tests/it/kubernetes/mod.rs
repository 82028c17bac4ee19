//! A real Kubernetes control plane and this cloud, with no more rights than its chart gives it.
//! Skipped where the programs of the control plane are not built: `cargo xtask k8s build`.

use std::path::Path;
use std::time::Duration;

use causeway_testbed::{Binaries, ControlPlane, Options};
use serde_json::Value;
use tempfile::TempDir;

mod source;
mod writes;

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(90);
/// What of the deployment a cloud outside the cluster needs.
const KINDS: [&str; 5] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
];

/// A control plane, and where it lives.
pub(crate) struct Plane {
    pub(crate) plane: ControlPlane,
    pub(crate) dir: TempDir,
}

impl Plane {
    /// Starts one; `None` where its programs are not built.
    #[expect(
        clippy::print_stdout,
        reason = "whoever runs the tests is told what was left out"
    )]
    pub(crate) async fn start(options: Options) -> Option<Self> {
        let Some(binaries) = Binaries::find().unwrap() else {
            println!("skipped: the programs of the control plane are not built");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let at = dir.path().join("plane");
        let started = tokio::task::spawn_blocking(move || {
            let plane = ControlPlane::start(binaries, &at, options).unwrap();
            plane.apply(&deployment()).unwrap();
            plane
        });
        let plane = started.await.unwrap();
        Some(Self { plane, dir })
    }

    /// Reads an object as the administrator; null when it is not there.
    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["get", "-o", "json", "--ignore-not-found"];
        all.extend(arguments);
        let text = self.plane.kubectl(&all).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits until an object is as wanted.
    pub(crate) async fn when<T>(
        &self,
        arguments: &[&str],
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let mut look = tokio::time::interval(Duration::from_millis(100));
        let mut last = Value::Null;
        let wait = async {
            loop {
                look.tick().await;
                last = self.get(arguments);
                if let Some(found) = wanted(&last) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(DEADLINE, wait).await;
        found.unwrap_or_else(|_| panic!("{arguments:?} in time; last seen: {last}"))
    }
}

/// The rights and kinds that the chart installs.
fn deployment() -> String {
    let manifests =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/causeway.yaml");
    let text = std::fs::read_to_string(manifests).unwrap();
    let documents = text.split("\n---\n").filter(|document| {
        let mut lines = document.lines();
        let kind = lines.find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| KINDS.contains(&kind.trim()))
    });
    documents.collect::<Vec<_>>().join("\n---\n")
}
