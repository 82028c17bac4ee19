//! Hashed bodies kept in memory, least recently used out first, bounded by bytes.

use std::collections::{BTreeMap, HashMap};

use crate::body::{Body, BodyHash};

#[derive(Debug)]
pub(super) struct BodyCache {
    bytes_max: usize,
    bytes: usize,
    tick: u64,
    bodies: HashMap<BodyHash, (u64, Body)>,
    by_use: BTreeMap<u64, BodyHash>,
}

impl BodyCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            tick: 0,
            bodies: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    pub(super) fn get(&mut self, hash: &BodyHash) -> Option<Body> {
        let (used, body) = self.bodies.get_mut(hash)?;
        self.by_use.remove(used);
        self.tick += 1;
        *used = self.tick;
        self.by_use.insert(self.tick, *hash);
        Some(body.clone())
    }

    /// Keeps a body, unless it alone would fill half of the cache.
    pub(super) fn insert(&mut self, hash: BodyHash, body: &Body) {
        if body.len() > self.bytes_max / 2 || self.get(&hash).is_some() {
            return;
        }
        // A slice of a larger buffer would keep all of that buffer.
        let own = Body::new(bytes::Bytes::copy_from_slice(body.bytes()));
        self.bytes += own.len();
        self.tick += 1;
        self.bodies.insert(hash, (self.tick, own));
        self.by_use.insert(self.tick, hash);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            if let Some((_, body)) = self.bodies.remove(&oldest) {
                self.bytes -= body.len();
            }
        }
    }

    pub(super) fn remove(&mut self, hash: &BodyHash) {
        if let Some((used, body)) = self.bodies.remove(hash) {
            self.by_use.remove(&used);
            self.bytes -= body.len();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bodies.clear();
        self.by_use.clear();
        self.bytes = 0;
    }
}
