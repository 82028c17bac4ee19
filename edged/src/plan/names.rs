//! Lives that go by the same name: at most one of them runs.

use std::collections::BTreeMap;

use super::{Observed, ObservedContainer};
use crate::pod::DesiredPod;

/// What is going on under each name.
pub(super) struct Names<'a>(BTreeMap<(&'a str, &'a str), Lives<'a>>);

/// The lives of one name, by uid.
#[derive(Default)]
struct Lives<'a> {
    /// Those that run, or may be started by steps under way.
    busy: Vec<&'a str>,
    /// Of those that should run the one that comes first.
    first: Option<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn of(desired: &'a [DesiredPod], observed: &'a Observed) -> Self {
        let mut names: BTreeMap<(&str, &str), Lives<'_>> = BTreeMap::new();
        for pod in desired.iter().filter(|pod| pod.deletion.is_none()) {
            let lives = names.entry((&pod.namespace, &pod.name)).or_default();
            let first = lives.first.map_or(&*pod.uid, |first| first.min(&pod.uid));
            lives.first = Some(first);
        }
        for (uid, found) in &observed.pods {
            if let Some(sandbox) = &found.sandbox
                && found.containers.iter().any(ObservedContainer::runs)
            {
                let name = (&*sandbox.config.namespace, &*sandbox.config.name);
                names.entry(name).or_default().busy.push(uid);
            }
        }
        for (uid, (namespace, name)) in &observed.starting {
            names.entry((namespace, name)).or_default().busy.push(uid);
        }
        Self(names)
    }

    /// Whether another life of the pod's name still runs, is being started, or comes first.
    pub(super) fn is_held(&self, pod: &DesiredPod) -> bool {
        let Some(lives) = self.0.get(&(&*pod.namespace, &*pod.name)) else {
            return false;
        };
        let mut others = lives.busy.iter().chain(&lives.first);
        others.any(|uid| **uid != *pod.uid)
    }
}
