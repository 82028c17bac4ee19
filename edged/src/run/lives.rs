//! Which lives of pods there are, by the name they go by. A name is what one round looks at: lives
//! of one name hold each other up, those of others do not.

use std::collections::{BTreeMap, BTreeSet};

use crate::runtime::Sandbox;

/// Namespace and name of a pod. What was found on the host and says no name goes by its uid, in no
/// namespace.
pub(crate) type Name = (String, String);

/// The lives that are on the host, or were lately, or are wanted.
#[derive(Debug, Default)]
pub(super) struct Lives {
    names: BTreeMap<String, Name>,
    uids: BTreeMap<Name, BTreeSet<String>>,
}

impl Lives {
    /// Takes note of a life, and of the name it goes by now.
    pub(super) fn put(&mut self, uid: &str, name: &Name) {
        if self.names.get(uid) == Some(name) {
            return;
        }
        self.remove(uid);
        self.names.insert(uid.to_owned(), name.clone());
        let uids = self.uids.entry(name.clone()).or_default();
        uids.insert(uid.to_owned());
    }

    pub(super) fn remove(&mut self, uid: &str) {
        let Some(name) = self.names.remove(uid) else {
            return;
        };
        if let Some(uids) = self.uids.get_mut(&name) {
            uids.remove(uid);
            if uids.is_empty() {
                self.uids.remove(&name);
            }
        }
    }

    /// The name of a life.
    pub(super) fn name(&self, uid: &str) -> Option<&Name> {
        self.names.get(uid)
    }

    /// The uids of a name.
    pub(super) fn of(&self, name: &Name) -> Vec<String> {
        self.uids
            .get(name)
            .map(|uids| uids.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// All names.
    pub(super) fn all(&self) -> impl Iterator<Item = &Name> {
        self.uids.keys()
    }
}

/// The name of what was found of a pod on the host.
pub(crate) fn found_name(uid: &str, sandbox: Option<&Sandbox>) -> Name {
    sandbox.map_or_else(
        || (String::new(), uid.to_owned()),
        |found| {
            let config = &found.config;
            (config.namespace.clone(), config.name.clone())
        },
    )
}

#[cfg(test)]
mod tests;
