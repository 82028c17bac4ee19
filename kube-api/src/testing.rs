//! A source in memory, with the semantics of the cloud or of an edge, for tests of this crate and
//! of crates above it. Nothing of it is durable.

use std::sync::Arc;

use causeway_log::{
    Body, EventId, Header, Key, NodeName, Op, Record, Revision, Stored, StreamId, Version, WallTime,
};
use causeway_projections::{Entry, Limits, Objects, Request, Verb};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::source::{Authority, Change, Clock, Expected, Source, Write, WriteError, Written};
use crate::view::View;

/// See the module documentation.
#[derive(Debug)]
pub struct MemorySource {
    view: View,
    authority: Authority,
    /// The writer: one write at a time. Holds the reason why nothing may be written, if any.
    writer: Mutex<Option<String>>,
}

impl MemorySource {
    /// A cloud with the namespace `default`.
    #[must_use]
    pub fn cloud() -> Arc<Self> {
        Self::cloud_with(Limits::default())
    }

    /// A cloud with the namespace `default` and other bounds.
    #[must_use]
    pub fn cloud_with(limits: Limits) -> Arc<Self> {
        let source = Self::new(Authority::Cloud, limits);
        let fields = json!({
            "metadata": { "creationTimestamp": "2023-11-14T22:13:20Z" },
            "status": { "phase": "Active" },
        });
        source.put_new("v1", "Namespace", "namespaces", "", "default", fields);
        source
    }

    /// An edge with a copy of nothing yet.
    #[must_use]
    pub fn edge(node: NodeName) -> Arc<Self> {
        Self::new(Authority::Edge { node }, Limits::default())
    }

    fn new(authority: Authority, limits: Limits) -> Arc<Self> {
        let view = View::new(Objects::with_limits(limits));
        Arc::new(Self {
            view,
            authority,
            writer: Mutex::new(None),
        })
    }

    /// Puts an object as its owner would, with a uid made of its revision.
    pub fn put_new(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        fields: Value,
    ) -> Revision {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let writer = self.writer.lock();
        let number = self.view.read(Objects::revision).get() + 1;
        let uid = Uuid::from_u128(u128::from(number));
        let mut object = fields;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(uid.to_string());
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let resource = causeway_log::Resource::new(group, plural);
        let key = Key::new(resource, namespace, name, causeway_log::Uid::Uuid(uid));
        let key = key.expect("names in tests are short");
        let revision = self.append(&self.owner_stream(), Op::Put, &key, body(object), None);
        drop(writer);
        revision
    }

    /// Appends a record as it would come from the other side, for edges.
    pub fn receive(&self, op: Op, key: &Key, body: Body, cause: Option<EventId>) -> Revision {
        let _writer = self.writer.lock();
        self.append(&self.owner_stream(), op, key, body, cause)
    }

    /// Refuses writes from here on, with a reason; `None` accepts them again.
    pub fn set_read_only(&self, reason: Option<&str>) {
        *self.writer.lock() = reason.map(str::to_owned);
    }

    fn owner_stream(&self) -> StreamId {
        match &self.authority {
            Authority::Cloud => StreamId::Cluster,
            Authority::Edge { node } => StreamId::down(node.clone()),
        }
    }

    fn append(
        &self,
        stream: &StreamId,
        op: Op,
        key: &Key,
        body: Body,
        cause: Option<EventId>,
    ) -> Revision {
        let revision = self
            .view
            .read(Objects::revision)
            .next()
            .expect("few records");
        let live = self.live(key).filter(|entry| entry.key().uid == key.uid);
        let since = live.map_or(revision, |entry| entry.created());
        let header = Header {
            offset: revision.as_own_offset(),
            id: EventId::new(Uuid::from_u128(u128::from(revision.get()))),
            cause,
            time: WallTime::from_unix_millis(revision.get() * 1000),
            key: key.clone(),
            version: Version::new(revision.get()),
            op,
        };
        let stored = Stored {
            revision,
            since,
            record: Record { header, body },
        };
        self.view
            .publish(|objects| objects.apply(stream, &stored), revision);
        revision
    }

    fn live(&self, key: &Key) -> Option<Entry> {
        self.view.read(|objects| {
            objects
                .get(&key.resource, &key.namespace, &key.name)
                .cloned()
        })
    }

    fn write(&self, write: Write) -> Result<Written, WriteError> {
        let writer = self.writer.lock();
        if let Some(reason) = &*writer {
            return Err(WriteError::ReadOnly {
                reason: reason.clone(),
            });
        }
        let live = self.live(&write.key);
        let found = live.as_ref().map(Entry::modified);
        let holds = match write.expected {
            Expected::Absent => found.is_none(),
            Expected::At(revision) => found == Some(revision),
        };
        if !holds {
            return Err(WriteError::Conflict { found });
        }
        match self.authority.clone() {
            Authority::Cloud => Ok(self.write_cloud(write, live)),
            Authority::Edge { node } => Ok(self.write_edge(write, live, node)),
        }
    }

    fn write_cloud(&self, write: Write, live: Option<Entry>) -> Written {
        let Write { key, change, .. } = write;
        let (op, body) = match change {
            Change::Put(object) | Change::Status(object) | Change::Fact(object) => {
                (Op::Put, body(object))
            }
            Change::Delete { .. } => (Op::Delete, Body::EMPTY),
        };
        if let Some(live) = live.filter(|live| op == Op::Put && live.desired() == Some(&body)) {
            return self.written(&key, live.modified(), false);
        }
        let revision = self.append(&StreamId::Cluster, op, &key, body, None);
        self.written(&key, revision, false)
    }

    fn write_edge(&self, write: Write, live: Option<Entry>, node: NodeName) -> Written {
        let Write { key, change, .. } = write;
        let base = live.as_ref().map(Entry::version);
        let request = |verb, object, grace_period_seconds| Request {
            verb,
            object,
            base,
            uid: key.uid.clone(),
            follows: live.as_ref().and_then(Entry::pending),
            grace_period_seconds,
        };
        let encode = |request: Request| Body::from(request.encode());
        let create = if live.is_some() {
            Verb::Update
        } else {
            Verb::Create
        };
        let (op, body, pending) = match change {
            Change::Put(object) => (Op::Apply, encode(request(create, Some(object), None)), true),
            Change::Status(mut object) => (Op::Status, body(object["status"].take()), false),
            Change::Delete { confirm: true, .. } => (Op::Delete, Body::EMPTY, false),
            Change::Delete {
                grace_period_seconds,
                confirm: false,
            } => (
                Op::Apply,
                encode(request(Verb::Delete, None, grace_period_seconds)),
                true,
            ),
            Change::Fact(object) => (Op::Fact, body(object), false),
        };
        let revision = self.append(&StreamId::up(node), op, &key, body, None);
        self.written(&key, revision, pending)
    }

    fn written(&self, key: &Key, revision: Revision, pending: bool) -> Written {
        let object = self.live(key).map(|entry| entry.object());
        Written {
            revision,
            pending,
            object,
            warnings: Vec::new(),
        }
    }
}

fn body(mut object: Value) -> Body {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    object.to_string().into_bytes().into()
}

impl Source for MemorySource {
    fn view(&self) -> &View {
        &self.view
    }

    fn authority(&self) -> Authority {
        self.authority.clone()
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Written, WriteError>> {
        std::future::ready(self.write(write)).boxed()
    }
}

/// A clock that stands still and draws from a seed.
#[derive(Debug)]
pub struct FixedClock {
    time: WallTime,
    random: Mutex<fastrand::Rng>,
}

impl FixedClock {
    /// A clock at `time`.
    #[must_use]
    pub fn new(time: WallTime, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            time,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        })
    }
}

impl Clock for FixedClock {
    fn now(&self) -> WallTime {
        self.time
    }

    fn entropy(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.lock().fill(&mut bytes);
        bytes
    }
}
