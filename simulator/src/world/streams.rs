//! What both ends of a node's streams hold.

use std::collections::BTreeMap;

use causeway_log::digest::{DigestEntry, Scope, scan};
use causeway_log::{NodeName, Store, StreamId};

use super::World;
use crate::scenario::{Ends, Held};

impl World {
    /// What the cloud and a node hold of its streams, `down` first; none while one of them does not
    /// run or does not know a stream.
    #[must_use]
    pub fn streams(&self, node: &NodeName) -> Option<[Ends; 2]> {
        let cloud = &*self.cloud.as_ref()?.writer.store;
        let edge = &*self.nodes[self.find(node)?].edge.as_ref()?.writer.store;
        let ends = |direction, stream: &StreamId| {
            Some(Ends {
                direction,
                cloud: held(cloud, stream)?,
                edge: held(edge, stream)?,
            })
        };
        Some([
            ends("down", &StreamId::down(node.clone()))?,
            ends("up", &StreamId::up(node.clone()))?,
        ])
    }
}

fn held(store: &dyn Store, stream: &StreamId) -> Option<Held> {
    let epoch = store.stream(stream).ok()??.epoch.to_string();
    let mut keys = BTreeMap::new();
    let read = scan(store, stream, Scope::State, |stored| {
        if DigestEntry::of(&stored.record).is_some() {
            let (header, body) = (&stored.record.header, &stored.record.body);
            let slot = format!("{:?}", header.op.slot()).to_lowercase();
            let uid: String = header.key.uid.to_string().chars().take(8).collect();
            let key = format!("{} ({uid}) {slot}", header.key);
            let hash: String = body.hash().to_string().chars().take(12).collect();
            keys.insert(key, format!("v{} {hash}", header.version.get()));
        }
    });
    read.ok()?;
    Some(Held { epoch, keys })
}
