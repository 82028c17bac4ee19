//! What there is on this node: containers, volumes and the health of what runs.

use crate::plan::{Observed, ObservedContainer};
use crate::probes::Probes;
use crate::runtime::{Runtime, RuntimeError};
use crate::volumes::Volumes;

/// Everything found on this node.
pub(super) async fn observe(
    runtime: &dyn Runtime,
    volumes: &Volumes,
    probes: &Probes,
) -> Result<Observed, RuntimeError> {
    let mut observed = Observed::default();
    for sandbox in runtime.list_sandboxes().await? {
        let uid = sandbox.config.uid.clone();
        observed.pods.entry(uid).or_default().sandbox = Some(sandbox);
    }
    for container in runtime.list_containers().await? {
        let health = probes.health(&container.id);
        let pod = observed.pods.entry(container.pod.clone()).or_default();
        pod.containers.push(ObservedContainer { container, health });
    }
    let hashes = volumes.list().map_err(|source| RuntimeError::Host {
        doing: "list",
        path: "volumes".into(),
        source,
    })?;
    for (uid, hash) in hashes {
        observed.pods.entry(uid).or_default().volumes = Some(hash);
    }
    Ok(observed)
}
