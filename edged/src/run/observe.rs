//! What there is on this node: containers, volumes and the health of what runs.

use std::collections::BTreeMap;
use std::io;

use super::lives::{Name, found_name};
use crate::plan::{ObservedContainer, ObservedPod};
use crate::probes::Probes;
use crate::runtime::{Runtime, RuntimeError, Whose};
use crate::volumes::Volumes;

/// What was found of one pod.
pub(super) async fn observe(
    runtime: &dyn Runtime,
    volumes: &Volumes,
    probes: &Probes,
    uid: &str,
) -> Result<ObservedPod, RuntimeError> {
    let whose = Whose::Pod(uid);
    let sandbox = runtime.list_sandboxes(whose).await?.pop();
    let containers = runtime.list_containers(whose).await?;
    Ok(ObservedPod {
        sandbox,
        containers: containers
            .into_iter()
            .map(|container| ObservedContainer {
                health: probes.health(&container.id),
                container,
            })
            .collect(),
        volumes: volumes.written(uid).map_err(unlisted)?,
    })
}

/// Every pod of which something was found, by uid, and the name it goes by.
pub(super) async fn survey(
    runtime: &dyn Runtime,
    volumes: &Volumes,
) -> Result<BTreeMap<String, Name>, RuntimeError> {
    let sandboxes = runtime.list_sandboxes(Whose::All).await?;
    let mut found: BTreeMap<String, Name> = sandboxes
        .iter()
        .map(|sandbox| {
            let uid = sandbox.config.uid.clone();
            let name = found_name(&uid, Some(sandbox));
            (uid, name)
        })
        .collect();
    let containers = runtime.list_containers(Whose::All).await?;
    let owners = containers.into_iter().map(|container| container.pod);
    for uid in owners.chain(volumes.list().map_err(unlisted)?) {
        let name = found_name(&uid, None);
        found.entry(uid).or_insert(name);
    }
    Ok(found)
}

fn unlisted(source: io::Error) -> RuntimeError {
    RuntimeError::Host {
        doing: "list",
        path: "volumes".into(),
        source,
    }
}
