//! Objects as they are in the middle of a round, and how a change of one reaches the nodes.

use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::{
    Batch, Body, Draft, Entry, Epoch, EventId, Key, NodeName, Op, Place, Revision, StreamChange,
    StreamId,
};
use serde_json::Value;

use super::{ClusterMachine, Planning};
use crate::interest::{Delta, Name, Step, down_body, down_body_of, is_device};

/// An object as it is now: durable, or written in this round.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) key: Key,
    /// Canonical JSON without `resourceVersion`.
    pub(crate) body: Body,
    /// `None` when it was written in this round.
    pub(crate) modified: Option<Revision>,
}

impl Current {
    /// The object, without a `resourceVersion`.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(self.body.bytes()).unwrap_or_default()
    }
}

/// What storing an object did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is this entry of the batch.
    Entry(usize),
    /// It was so already; no record was made.
    Unchanged,
}

/// An object that fits into no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub(crate) size: usize,
}

impl ClusterMachine {
    pub(crate) fn current(&self, name: &Name) -> Option<Current> {
        match self.round.overlay.get(name) {
            Some(Planning::Present(current)) => return Some(current.clone()),
            Some(Planning::Gone) => return None,
            None => {}
        }
        self.view.read(|objects| {
            let entry = objects.get(&name.resource, &name.namespace, &name.name)?;
            Some(Current {
                key: entry.key().clone(),
                body: entry.desired()?.clone(),
                modified: Some(entry.modified()),
            })
        })
    }

    pub(crate) fn is_touched(&self, name: &Name) -> bool {
        self.round.overlay.contains_key(name)
    }

    /// Whether this round wrote anything in a namespace.
    pub(super) fn is_namespace_touched(&self, namespace: &str) -> bool {
        self.round
            .overlay
            .keys()
            .any(|name| &*name.namespace == namespace)
    }

    /// Stores an object whole and sends it to whoever needs it.
    pub(crate) fn put(
        &mut self,
        batch: &mut Batch,
        key: &Key,
        mut object: Value,
        cause: Option<EventId>,
    ) -> Result<Stored, TooLarge> {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let body = Body::from(object.to_string().into_bytes());
        if body.len() > BODY_BYTES_MAX {
            return Err(TooLarge { size: body.len() });
        }
        let name = Name::of(key);
        let before = self.current(&name).filter(|current| current.key == *key);
        if before.as_ref().is_some_and(|before| before.body == body) {
            return Ok(Stored::Unchanged);
        }
        let draft = self.draft(key, Op::Put, body.clone(), cause);
        let caused_by = cause.unwrap_or(draft.id);
        let entry = batch.entries.len();
        batch.entries.push(Entry {
            stream: StreamId::Cluster,
            place: Place::Next,
            draft,
        });
        let current = Current {
            key: key.clone(),
            body: body.clone(),
            modified: None,
        };
        self.round.overlay.insert(name, Planning::Present(current));
        let mut deltas = Vec::new();
        self.graph.put(key, &object, &mut deltas);
        let sent_before = before.map(|before| down_body_of(key, &before.body));
        let sent = down_body(key, &object);
        // One copy of the bytes serves the cluster and the nodes where nothing is left out.
        let sent = if sent == body { body } else { sent };
        let same = sent_before.as_ref() == Some(&sent);
        deltas.retain(|delta| delta.step != Step::Update || !same);
        self.send(batch, deltas, Some((key, &sent)), caused_by);
        Ok(Stored::Entry(entry))
    }

    /// Removes an object, which must be there, from the cluster and from whoever holds it.
    pub(crate) fn delete(&mut self, batch: &mut Batch, key: &Key, cause: Option<EventId>) -> usize {
        let draft = self.draft(key, Op::Delete, Body::EMPTY, cause);
        let caused_by = cause.unwrap_or(draft.id);
        let entry = batch.entries.len();
        batch.entries.push(Entry {
            stream: StreamId::Cluster,
            place: Place::Next,
            draft,
        });
        self.round.overlay.insert(Name::of(key), Planning::Gone);
        let mut deltas = Vec::new();
        self.graph.remove(key, &mut deltas);
        self.send(batch, deltas, None, caused_by);
        entry
    }

    /// A node that made or edited an object by a request keeps it.
    pub(crate) fn stick(&mut self, batch: &mut Batch, node: &NodeName, key: &Key, cause: EventId) {
        if self.expects(node, key) {
            return;
        }
        let mut deltas = Vec::new();
        self.graph.stick(node, key, &mut deltas);
        self.send(batch, deltas, None, cause);
    }

    pub(crate) fn holds(&self, node: &NodeName, key: &Key) -> bool {
        self.graph.holds(node, key)
    }

    /// Appends a record to what a node is sent.
    pub(crate) fn send_record(
        &mut self,
        batch: &mut Batch,
        node: &NodeName,
        key: &Key,
        op: Op,
        body: Body,
        cause: EventId,
    ) {
        let stream = self.ensure_down(batch, node);
        let draft = self.draft(key, op, body, Some(cause));
        batch.entries.push(Entry {
            stream,
            place: Place::Next,
            draft,
        });
    }

    /// Turns deltas into records. `written` is the object that caused them and its body for nodes.
    fn send(
        &mut self,
        batch: &mut Batch,
        deltas: Vec<Delta>,
        written: Option<(&Key, &Body)>,
        cause: EventId,
    ) {
        for Delta { node, key, step } in deltas {
            let (op, body) = match step {
                Step::Withdraw => (Op::Delete, Body::EMPTY),
                Step::Put | Step::Update => {
                    let body = match written {
                        Some((written, body)) if *written == key => Some(body.clone()),
                        _ => self
                            .current(&Name::of(&key))
                            .filter(|current| current.key == key)
                            .map(|current| down_body_of(&key, &current.body)),
                    };
                    // The graph holds exactly the objects of the view and of this round.
                    (Op::Put, body.expect("an object that a node needs is there"))
                }
            };
            self.send_record(batch, &node, &key, op, body.clone(), cause);
            if is_device(&key.resource) {
                match step {
                    Step::Withdraw => self.forget_wishes(&node, &key),
                    Step::Put | Step::Update => {
                        self.send_wishes(batch, &node, &key, &body, cause);
                    }
                }
            }
        }
    }

    fn ensure_down(&mut self, batch: &mut Batch, node: &NodeName) -> StreamId {
        let stream = StreamId::down(node.clone());
        // A stream that this round drops has no records any more, and gets none: its node holds
        // nothing. Should a later request of the round need it again, it is opened anew.
        let open = self.down.contains(node) && !self.round.dropped.contains(node);
        if !open && !self.round.opened.contains(node) {
            let epoch = Epoch::new(self.clock.uid());
            batch.streams.push(StreamChange::Open {
                stream: stream.clone(),
                epoch,
            });
            self.round.opened.insert(node.clone());
            self.round.dropped.remove(node);
        }
        stream
    }

    fn draft(&self, key: &Key, op: Op, body: Body, cause: Option<EventId>) -> Draft {
        let time = self.clock.now();
        let [a, b, c, d, e, f, g, h, i, j, ..] = self.clock.entropy();
        let id = EventId::compose(time, [a, b, c, d, e, f, g, h, i, j]);
        Draft {
            id,
            cause,
            time,
            key: key.clone(),
            version: None,
            op,
            body,
        }
    }
}
