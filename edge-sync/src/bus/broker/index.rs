//! Who subscribed to what.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::mqtt::{Qos, matches};

/// Name of a client.
pub(super) type ClientId = Arc<str>;

/// Subscriptions of all clients. Filters without wildcards, which is what devices have, cost a
/// look-up; the others are tried one by one.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: BTreeMap<Arc<str>, BTreeMap<ClientId, Qos>>,
    wild: BTreeMap<Arc<str>, BTreeMap<ClientId, Qos>>,
}

impl Index {
    fn side(&mut self, filter: &str) -> &mut BTreeMap<Arc<str>, BTreeMap<ClientId, Qos>> {
        if filter.contains(['+', '#']) {
            &mut self.wild
        } else {
            &mut self.exact
        }
    }

    pub(super) fn insert(&mut self, filter: &Arc<str>, client: &ClientId, qos: Qos) {
        let clients = self.side(filter).entry(Arc::clone(filter)).or_default();
        clients.insert(Arc::clone(client), qos);
    }

    pub(super) fn remove(&mut self, filter: &str, client: &ClientId) {
        let side = self.side(filter);
        if let Some(clients) = side.get_mut(filter) {
            clients.remove(client);
            if clients.is_empty() {
                side.remove(filter);
            }
        }
    }

    fn matching(&self, topic: &str) -> impl Iterator<Item = &BTreeMap<ClientId, Qos>> {
        let wild = self.wild.iter();
        let wild = wild.filter(move |(filter, _)| matches(filter, topic));
        let wild = wild.map(|(_, clients)| clients);
        self.exact.get(topic).into_iter().chain(wild)
    }

    /// Whether anybody listens to a topic.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.matching(topic).next().is_some()
    }

    /// Who listens to a topic, each once, with the surest delivery asked for.
    pub(super) fn listeners(&self, topic: &str) -> BTreeMap<ClientId, Qos> {
        let mut listeners = BTreeMap::new();
        for (client, qos) in self.matching(topic).flatten() {
            let best = listeners.entry(Arc::clone(client)).or_insert(*qos);
            *best = (*best).max(*qos);
        }
        listeners
    }
}
