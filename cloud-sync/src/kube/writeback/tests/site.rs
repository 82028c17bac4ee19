//! The write-back between a cluster machine on its thread and an API server in memory.

use std::sync::Arc;

use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_log::replication::{Incoming, SessionWrite};
use causeway_log::store::memory::{Disk, MemoryStore};
use causeway_log::writer::Writer;
use causeway_log::{
    Body, Draft, Epoch, EventId, Key, NodeName, Offset, Op, Slot, Store as _, StreamId, Version,
    WallTime,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::api::FakeApi;
use crate::cluster::{ClusterMachine, Request, Requests, Seen};
use crate::hub::{Hub, Seat};
use crate::kube::writeback::{Parts, WriteStats, run};
use crate::rig::{self, Counter};

pub(super) struct Site {
    pub(super) api: Arc<FakeApi>,
    pub(super) stats: Arc<WriteStats>,
    pub(super) disk: Disk,
    store: Arc<MemoryStore>,
    hub: Arc<Hub>,
    requests: Requests,
    parts: Parts,
    shutdown: Shutdown,
    task: Option<Task>,
    writer: Writer,
    sent: u64,
}

pub(super) fn n1() -> NodeName {
    NodeName::new("n1").unwrap()
}

/// The path of a pod.
pub(super) fn path(key: &Key) -> String {
    format!(
        "/api/v1/namespaces/{}/{}/{}",
        key.namespace, key.resource.plural, key.name
    )
}

impl Site {
    /// With the edge node `n1`.
    pub(super) async fn new() -> Self {
        let site = Self::on(Disk::new(), FakeApi::new(), 0);
        let node = rig::key("nodes", "", "n1");
        let labels = json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}});
        site.put(&node, "Node", labels).await;
        site.put(
            &rig::key("namespaces", "", "default"),
            "Namespace",
            json!({}),
        )
        .await;
        site
    }

    fn on(disk: Disk, api: Arc<FakeApi>, sent: u64) -> Self {
        let (store, _) = MemoryStore::on(&disk).unwrap();
        let store = Arc::new(store);
        let (hub, clock) = (Hub::new(10), Arc::new(Counter::default()));
        let machine = ClusterMachine::start_mirror(
            Arc::<MemoryStore>::clone(&store),
            Arc::<Counter>::clone(&clock),
            Arc::clone(&hub),
            Arc::default(),
        )
        .unwrap();
        let (view, depths) = (machine.view(), machine.depths());
        let (writer, handle) = Writer::spawn("test", Arc::<MemoryStore>::clone(&store), machine);
        let requests = Requests::new(handle, depths);
        let stats = Arc::new(WriteStats::default());
        let parts = Parts {
            api: Arc::<FakeApi>::clone(&api),
            view,
            store: Arc::<MemoryStore>::clone(&store),
            hub: Arc::clone(&hub),
            requests: requests.clone(),
            clock,
            lease_renewal: std::time::Duration::from_secs(10),
            stats: Arc::clone(&stats),
        };
        Self {
            api,
            stats,
            disk,
            store,
            hub,
            requests,
            parts,
            shutdown: Shutdown::new(),
            task: None,
            writer,
            sent,
        }
    }

    /// Starts the write-back.
    pub(super) fn start(&mut self) {
        let running = run(self.parts.clone(), self.shutdown.token());
        self.task = Some(spawn("write-back", running));
    }

    /// Everything stops at once, and comes back with what was durable. The API server goes on.
    pub(super) async fn crash(mut self) -> Self {
        drop(self.task.take());
        let Self {
            api,
            disk,
            requests,
            parts,
            writer,
            sent,
            ..
        } = self;
        drop((requests, parts));
        tokio::task::spawn_blocking(move || writer.join().unwrap())
            .await
            .unwrap();
        disk.crash();
        Self::on(disk, api, sent)
    }

    /// An object is at the API server, and is seen there.
    pub(super) async fn put(&self, key: &Key, kind: &str, rest: Value) -> Value {
        let object = rig::object(key, kind, rest);
        let place = if key.namespace.is_empty() {
            format!("/api/v1/{}/{}", key.resource.plural, key.name)
        } else {
            path(key)
        };
        self.api.put(&place, object.clone());
        self.see(vec![Seen::Present {
            key: key.clone(),
            object: object.clone(),
            version: None,
        }])
        .await;
        object
    }

    /// A pod of `n1`.
    pub(super) async fn pod(&self, name: &str) -> Key {
        self.pod_on(&n1(), name).await
    }

    pub(super) async fn pod_on(&self, node: &NodeName, name: &str) -> Key {
        let node = node.as_str();
        let (key, _) = rig::pod(name, Some(node), json!({}));
        self.put(&key, "Pod", json!({"spec": {"nodeName": node}}))
            .await;
        key
    }

    pub(super) async fn see(&self, seen: Vec<Seen>) {
        let (answer, answered) = oneshot::channel();
        let request = Request::Mirror { seen, answer };
        self.requests.send(request).await.unwrap();
        answered.await.unwrap().unwrap();
    }

    pub(super) fn draft(&mut self, key: &Key, op: Op, body: &Value) -> Draft {
        self.sent += 1;
        let body = if body.is_null() {
            Body::EMPTY
        } else {
            Body::from(body.to_string().into_bytes())
        };
        Draft {
            id: EventId::new(Uuid::from_u128(self.sent.into())),
            cause: None,
            time: WallTime::default(),
            key: key.clone(),
            version: Some(Version::new(1)),
            op,
            body,
        }
    }

    /// `n1` sends records; they are durable when this returns.
    pub(super) async fn send(&mut self, drafts: Vec<Draft>) {
        self.send_from(&n1(), drafts).await;
    }

    pub(super) async fn send_from(&mut self, node: &NodeName, drafts: Vec<Draft>) {
        let seat = self.connect(node);
        let first = self.sent + 1 - drafts.len() as u64;
        let records = drafts.into_iter().enumerate();
        let records = records
            .map(|(place, draft)| (Offset::new(first + place as u64), draft))
            .collect();
        let incoming = Incoming {
            epoch: Epoch::new(Uuid::from_u128(7)),
            records,
            upto: Some(Offset::new(self.sent)),
            caught_up: true,
        };
        let (answer, answered) = oneshot::channel();
        let request = Request::Session {
            node: node.clone(),
            session: seat.number(),
            write: SessionWrite::Incoming(incoming),
            answer,
        };
        self.requests.send(request).await.unwrap();
        answered.await.unwrap().unwrap();
    }

    /// A session of a node that has taken it over.
    pub(super) fn connect(&self, node: &NodeName) -> Seat {
        let (seat, _control) = self.hub.admit(node, self.shutdown.token()).unwrap();
        seat.take_over(WallTime::default());
        seat
    }

    /// One status of a pod.
    pub(super) async fn report(&mut self, key: &Key, phase: &str) {
        let draft = self.draft(key, Op::Status, &json!({"phase": phase}));
        self.send(vec![draft]).await;
    }

    /// Waits until all that was sent is behind the cursor.
    pub(super) async fn settled(&self) {
        let mut durable = self.api.changes();
        loop {
            let (head, last, cursor) = self.disk.read_anyway(|| self.progress());
            if head && cursor >= last {
                return;
            }
            tokio::select! {
                _ = durable.changed() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
    }

    /// Whether `n1` ever sent anything, the last of it, and how far the write-back is.
    fn progress(&self) -> (bool, Option<Offset>, Option<Offset>) {
        let stream = StreamId::up(n1());
        let all = self.store.read(
            &stream,
            causeway_log::Revision::ZERO,
            causeway_log::store::ReadLimit::SCAN,
        );
        let last = all.unwrap().last().map(|stored| stored.revision);
        let cursor = self.store.cursor(&crate::writeback::cursor(&n1()));
        (
            self.store.stream(&stream).unwrap().is_some(),
            last.map(causeway_log::Revision::as_own_offset),
            cursor.unwrap(),
        )
    }

    /// The answers to a request on the node's stream: how many, and the newest.
    pub(super) fn answers(&self, key: &Key) -> (usize, Option<Op>) {
        let stream = StreamId::down(n1());
        let all = self.store.read(
            &stream,
            causeway_log::Revision::ZERO,
            causeway_log::store::ReadLimit::SCAN,
        );
        let of_key = all.unwrap().into_iter().filter(|stored| {
            let header = &stored.record.header;
            header.key == *key && header.op.slot() == Slot::Request
        });
        let newest = self.store.newest(&stream, key, Slot::Request).unwrap();
        (of_key.count(), newest.map(|stored| stored.record.header.op))
    }

    /// What the node was sent last of an object.
    pub(super) fn sent_object(&self, key: &Key) -> Option<(Version, Value)> {
        let stream = StreamId::down(n1());
        let record = self
            .store
            .newest(&stream, key, Slot::Object)
            .unwrap()?
            .record;
        let body = serde_json::from_slice(record.body.bytes()).ok()?;
        Some((record.header.version, body))
    }
}
