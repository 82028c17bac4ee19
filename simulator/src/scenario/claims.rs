//! Whether what is expected of a node is so.

use std::collections::BTreeMap;

use super::model::PodClaim;
use crate::world::{NodeState, PodState};

/// Whether these pods run; with `others`, more may. What differs, when not.
pub(super) fn runs(state: &NodeState, claims: &[PodClaim], others: bool) -> Result<(), String> {
    for claim in claims {
        let named: Vec<&PodState> = alive(state)
            .filter(|pod| pod.namespace == claim.namespace && pod.name == claim.name)
            .collect();
        let Some(first) = named.first() else {
            let running: Vec<String> = alive(state).map(name).collect();
            return Err(format!(
                "{}/{} does not run; {}",
                claim.namespace,
                claim.name,
                listed(&running),
            ));
        };
        if !named.iter().any(|pod| pod.running) {
            return Err(format!("not every container of {} runs", name(first)));
        }
        let problems: Vec<String> = named.iter().filter_map(|pod| differs(pod, claim)).collect();
        if problems.len() == named.len() {
            return Err(problems.join("; "));
        }
    }
    if others {
        return Ok(());
    }
    let claimed = |pod: &&PodState| {
        claims
            .iter()
            .any(|claim| claim.namespace == pod.namespace && claim.name == pod.name)
    };
    let surplus: Vec<String> = alive(state).filter(|pod| !claimed(pod)).map(name).collect();
    if surplus.is_empty() {
        Ok(())
    } else {
        Err(format!("{} too", listed(&surplus)))
    }
}

/// Whether no pod runs twice, neither one life of it nor two.
pub(super) fn one_copy(state: &NodeState) -> Result<(), String> {
    let mut lives: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for pod in alive(state) {
        let copies = pod
            .containers
            .iter()
            .map(|container| container.copies)
            .max();
        *lives.entry((&pod.namespace, &pod.name)).or_default() += copies.unwrap_or(0);
    }
    match lives.iter().find(|(_, copies)| **copies > 1) {
        Some(((namespace, name), copies)) => Err(format!("{namespace}/{name} runs {copies} times")),
        None => Ok(()),
    }
}

/// Whether every pod that ran before still does, the same life of it without a restart.
pub(super) fn undisturbed(before: &NodeState, state: &NodeState) -> Result<(), String> {
    for pod in before.pods.iter().filter(|pod| pod.running) {
        let same = |other: &&PodState| other.uid == pod.uid;
        let Some(still) = state.pods.iter().find(same) else {
            return Err(format!("{} is gone", name(pod)));
        };
        if !still.running {
            return Err(format!("{} does not run any longer", name(pod)));
        }
        if restarts(still) > restarts(pod) {
            return Err(format!("{} was started again", name(pod)));
        }
    }
    Ok(())
}

/// Pods of which something runs.
pub(super) fn alive(state: &NodeState) -> impl Iterator<Item = &PodState> {
    let runs = |pod: &&PodState| pod.containers.iter().any(|container| container.copies > 0);
    state.pods.iter().filter(runs)
}

pub(super) fn restarts(pod: &PodState) -> u32 {
    pod.containers
        .iter()
        .map(|container| container.restarts)
        .sum()
}

pub(super) fn name(pod: &PodState) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing runs".to_owned(),
        [only] => format!("{only} runs"),
        [first, .., last] if names.len() > 4 => {
            format!("{first}, … and {last} run ({})", names.len())
        }
        [all @ .., last] => format!("{} and {last} run", all.join(", ")),
    }
}

/// How a pod differs from what is claimed of it.
fn differs(pod: &PodState, claim: &PodClaim) -> Option<String> {
    let PodClaim {
        namespace: _,
        name: _,
        image,
        env,
        files,
    } = claim;
    if let Some(image) = image
        && !pod
            .containers
            .iter()
            .any(|container| container.image == *image)
    {
        let found: Vec<&str> = pod
            .containers
            .iter()
            .map(|found| found.image.as_str())
            .collect();
        return Some(format!(
            "{} runs {}, not {image}",
            name(pod),
            found.join(", ")
        ));
    }
    for (variable, wanted) in env {
        let all = pod.containers.iter().flat_map(|container| &container.env);
        let found: Vec<&str> = all
            .filter(|(name, _)| name == variable)
            .map(|(_, value)| value.as_str())
            .collect();
        if !found.contains(&wanted.as_str()) {
            let found = if found.is_empty() {
                "not set".to_owned()
            } else {
                format!("`{}`", found.join("`, `"))
            };
            return Some(format!(
                "{}: ${variable} is {found}, not `{wanted}`",
                name(pod)
            ));
        }
    }
    for (file, wanted) in files {
        let found = pod.files.get(file);
        if found.map(|found| found.trim_end()) != Some(wanted.trim_end()) {
            let found = found.map_or_else(
                || {
                    let known: Vec<&str> = pod.files.keys().map(String::as_str).collect();
                    format!("not there ({})", known.join(", "))
                },
                |found| format!("`{}`", found.trim_end()),
            );
            return Some(format!("{}: {file} is {found}, not `{wanted}`", name(pod)));
        }
    }
    None
}
