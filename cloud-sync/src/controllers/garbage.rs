//! Removes what has lost its reason: objects whose owners are all gone, and the pods of nodes that
//! were deleted and are away.
//!
//! A Node that is deleted while its session is up keeps its pods: it is about to register again.
//! Without a session, its pods are removed, and when nothing is left for it, its streams go too. A
//! node that comes back later begins anew and is reconciled by digest.

use std::sync::Arc;

use causeway_kube_api::{Catalog, Write};
use causeway_log::WallTime;
use causeway_projections::Objects;

use super::index::entry;
use super::namespaces::end;
use super::{Index, WRITES_PER_TURN_MAX, remove};

/// The writes that remove objects without owners.
#[must_use]
pub fn orphans(objects: &Objects, index: &Index, catalog: &Catalog, now: WallTime) -> Vec<Write> {
    index
        .owned
        .iter()
        .filter(|(_, owners)| owners.iter().all(|owner| !index.uids.contains_key(owner)))
        .filter_map(|(name, _)| end(entry(objects, name)?, catalog, now))
        .take(WRITES_PER_TURN_MAX)
        .collect()
}

/// The writes that remove pods of deleted nodes that are away.
#[must_use]
pub fn abandoned(
    objects: &Objects,
    index: &Index,
    is_connected: impl Fn(&str) -> bool,
) -> Vec<Write> {
    if index.deleted_nodes.is_empty() {
        return Vec::new();
    }
    let is_gone = |node: &Arc<str>| index.deleted_nodes.contains(node) && !is_connected(node);
    index
        .pods
        .iter()
        .filter(|(_, pod)| pod.node.as_ref().is_some_and(is_gone))
        .filter_map(|(name, _)| Some(remove(entry(objects, name)?)))
        .take(WRITES_PER_TURN_MAX)
        .collect()
}

/// Deleted nodes that are away and for which nothing is left.
pub fn leavers<'a>(
    index: &'a Index,
    is_connected: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = &'a Arc<str>> + 'a {
    index.deleted_nodes.iter().filter(move |node| {
        !is_connected(node)
            && !index
                .pods
                .values()
                .any(|pod| pod.node.as_ref() == Some(*node))
    })
}
