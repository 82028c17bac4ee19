//! Who keeps an object because of a request: all of the graph that objects do not say.

use std::collections::{BTreeMap, BTreeSet};

use causeway_log::{Key, NodeName};

use super::Name;

/// Nodes that made or edited an object through a request, and what that was at the last
/// [`Sticky::keep`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Sticky {
    nodes: BTreeMap<Key, BTreeSet<NodeName>>,
    /// Of each object for which it has changed since.
    before: BTreeMap<Key, BTreeSet<NodeName>>,
}

impl Sticky {
    /// The nodes that keep an object.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = &NodeName> {
        self.nodes.get(key).into_iter().flatten()
    }

    /// Whether any node keeps an object.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.nodes.contains_key(key)
    }

    /// A node keeps an object. `false` when it did before.
    pub(super) fn insert(&mut self, key: &Key, node: &NodeName) -> bool {
        if self.of(key).any(|known| known == node) {
            return false;
        }
        self.remember(key);
        self.nodes
            .entry(key.clone())
            .or_default()
            .insert(node.clone())
    }

    /// Nobody keeps an object any more.
    pub(super) fn remove(&mut self, key: &Key) {
        if self.contains(key) {
            self.remember(key);
            self.nodes.remove(key);
        }
    }

    /// Nobody keeps an object of this name any more, but of one life.
    pub(super) fn remove_name(&mut self, name: &Name, but: Option<&Key>) {
        let is_over = |key: &&Key| Name::of(key) == *name && but != Some(key);
        let over: Vec<Key> = self.nodes.keys().filter(is_over).cloned().collect();
        for key in over {
            self.remove(&key);
        }
    }

    fn remember(&mut self, key: &Key) {
        if !self.before.contains_key(key) {
            let before = self.nodes.get(key).cloned().unwrap_or_default();
            self.before.insert(key.clone(), before);
        }
    }

    /// What was done up to here stands.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// As it was at the last [`Sticky::keep`].
    pub(super) fn kept(mut self) -> Self {
        self.nodes.append(&mut self.before);
        self.nodes.retain(|_, nodes| !nodes.is_empty());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{key, node};

    #[test]
    fn what_was_not_kept_is_undone() {
        let [a, b, c] = ["a", "b", "c"].map(|name| key("configmaps", "default", name));
        let mut sticky = Sticky::default();
        assert!(sticky.insert(&a, &node("n1")) && sticky.insert(&b, &node("n1")));
        sticky.keep();
        assert!(!sticky.insert(&a, &node("n1")));
        assert!(sticky.insert(&a, &node("n2")) && sticky.insert(&c, &node("n1")));
        sticky.remove(&a);
        sticky.insert(&a, &node("n3"));
        sticky.remove_name(&Name::of(&b), Some(&b));
        assert!(sticky.contains(&b));
        sticky.remove_name(&Name::of(&b), None);
        assert!(!sticky.contains(&b));
        let kept = sticky.kept();
        for key in [&a, &b] {
            assert_eq!(kept.of(key).collect::<Vec<_>>(), [&node("n1")], "{key}");
        }
        assert!(!kept.contains(&c));
    }
}
