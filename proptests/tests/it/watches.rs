//! WATCH-1 and WATCH-2 over the bytes of the API: a client that lists once and believes every event
//! has what a fresh list shows, also when the server lets go of history and starts again from its
//! disk in between; it is sent back to the list only when there is no other way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::BytesMut;
use causeway_kube_api::{
    Authority, ServerConfig, Source, View, Write, WriteError, Written, router,
};
use causeway_log::store::TrimPolicy;
use causeway_log::store::memory::MemoryStore;
use causeway_log::{
    Batch, Draft, Entry, Epoch, EventId, Key, Op, Place, Resource, Revision, Slot, Store,
    StreamChange, StreamId, Uid, WallTime,
};
use causeway_projections::rebuild::rebuild;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const PATH: &str = "/api/v1/namespaces/default/configmaps";

#[derive(Clone, Debug)]
enum Act {
    Put(usize, u8),
    Delete(usize),
    /// The object that had the name last is there again, as when a node is sent once more what it was
    /// told to drop.
    Back(usize),
    /// The client reads what there is.
    Pull,
    /// The client's connection ends.
    Hang,
    /// The server starts again from its disk.
    Restart,
    /// The server's store lets go of history, but for so many revisions.
    Trim(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..4_usize, any::<u8>()).prop_map(|(name, value)| Act::Put(name, value)),
        3 => (0..4_usize).prop_map(Act::Delete),
        2 => (0..4_usize).prop_map(Act::Back),
        3 => Just(Act::Pull),
        1 => Just(Act::Hang),
        1 => Just(Act::Restart),
        1 => (0..12_u64).prop_map(Act::Trim),
    ]
}

/// A server that only reads, over what a store holds.
struct Reader(View);

impl Source for Reader {
    fn view(&self) -> &View {
        &self.0
    }

    fn authority(&self) -> Authority {
        Authority::Cloud
    }

    fn commit(&self, _: Write) -> BoxFuture<'_, Result<Written, WriteError>> {
        let reason = "nobody writes here".to_owned();
        Box::pin(async { Err(WriteError::ReadOnly { reason }) })
    }
}

struct Server {
    store: MemoryStore,
    view: View,
    router: axum::Router,
    lives: u64,
    /// Who had a name last.
    last: BTreeMap<usize, Key>,
}

impl Server {
    fn start(store: MemoryStore, lives: u64, last: BTreeMap<usize, Key>) -> Self {
        let view = View::new(rebuild(&store, &[StreamId::Cluster]).unwrap());
        let reader = Arc::new(Reader(view.clone()));
        Self {
            store,
            view,
            router: router(reader, ServerConfig::default()),
            lives,
            last,
        }
    }

    fn new() -> Self {
        let store = MemoryStore::new();
        let open = StreamChange::Open {
            stream: StreamId::Cluster,
            epoch: Epoch::new(Uuid::from_u128(1)),
        };
        let streams = vec![open];
        store
            .append(&Batch {
                streams,
                ..Batch::default()
            })
            .unwrap();
        store.sync().unwrap();
        Self::start(store, 0, BTreeMap::new())
    }

    fn restart(self) -> Self {
        let (store, _) = MemoryStore::on(self.store.disk()).unwrap();
        Self::start(store, self.lives, self.last)
    }

    fn trim(&self, keep_revisions: u64) {
        let policy = TrimPolicy {
            keep_revisions,
            keep_since: WallTime::from_unix_millis(u64::MAX),
            bytes_max: 0,
            facts_max: u64::MAX,
            facts_bytes_max: 0,
            records_per_call_max: usize::MAX,
        };
        self.store.trim(&policy).unwrap();
    }

    fn write(&mut self, number: usize, value: Option<u8>) {
        let resource = Resource::core("configmaps");
        let name = format!("m{number}");
        let live = self.view.read(|objects| {
            objects
                .get(&resource, "default", &name)
                .map(|entry| entry.key().clone())
        });
        let key = match (live, value) {
            (Some(key), _) => key,
            (None, None) => return,
            (None, Some(_)) => {
                self.lives += 1;
                let uid = Uid::Uuid(Uuid::from_u128(self.lives.into()));
                Key::new(resource, "default", &name, uid).unwrap()
            }
        };
        self.last.insert(number, key.clone());
        self.put(&name, key, value);
    }

    /// The last life of a name once more, unless something has the name.
    fn bring_back(&mut self, number: usize) {
        let name = format!("m{number}");
        let resource = Resource::core("configmaps");
        let is_free = self
            .view
            .read(|objects| objects.get(&resource, "default", &name).is_none());
        if let Some(key) = self.last.get(&number).cloned().filter(|_| is_free) {
            self.put(&name, key, Some(0));
        }
    }

    fn put(&self, name: &str, key: Key, value: Option<u8>) {
        let (op, body) = match value {
            None => (Op::Delete, Vec::new()),
            Some(value) => {
                let metadata =
                    json!({"name": name, "namespace": "default", "uid": key.uid.to_string()});
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                    "data": {"v": value.to_string()}});
                (Op::Put, object.to_string().into_bytes())
            }
        };
        let draft = Draft {
            id: EventId::new(Uuid::from_u128(7)),
            cause: None,
            time: WallTime::from_unix_millis(0),
            key: key.clone(),
            version: None,
            op,
            body: body.into(),
        };
        let entries = vec![Entry {
            stream: StreamId::Cluster,
            place: Place::Next,
            draft,
        }];
        self.store
            .append(&Batch {
                entries,
                ..Batch::default()
            })
            .unwrap();
        let durable = self.store.sync().unwrap();
        let stored = self
            .store
            .newest(&StreamId::Cluster, &key, Slot::Object)
            .unwrap()
            .unwrap();
        self.view.publish(
            |objects| drop(objects.apply(&StreamId::Cluster, &stored)),
            durable,
        );
    }

    async fn call(&self, path: &str) -> http::Response<Body> {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let service = TowerToHyperService::new(self.router.clone());
        service.call(request).await.unwrap()
    }

    async fn list(&self) -> (String, BTreeMap<String, Value>) {
        let body = self
            .call(PATH)
            .await
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        let list: Value = serde_json::from_slice(&body).unwrap();
        let at = list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        let items = list["items"].as_array().unwrap().iter();
        (
            at,
            items.map(|item| (uid(item), without_type(item))).collect(),
        )
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Items of a list do not say what they are; objects in events do.
fn without_type(object: &Value) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    fields.remove("apiVersion");
    fields.remove("kind");
    object
}

/// Believes what it is told.
struct Client {
    at: String,
    copy: BTreeMap<String, Value>,
    body: Option<Body>,
    read: BytesMut,
    lists: usize,
}

impl Client {
    async fn pull(&mut self, server: &Server) {
        // A connection that ended, or a revision that is gone, takes another round.
        for _ in 0..4 {
            if self.body.is_none() {
                let path = format!("{PATH}?watch=true&resourceVersion={}", self.at);
                self.read.clear();
                self.body = Some(server.call(&path).await.into_body());
            }
            if self.read_all() {
                return;
            }
            self.body = None;
            (self.at, self.copy) = server.list().await;
            self.lists += 1;
        }
        panic!("the watch never catches up");
    }

    /// `false`: the server says that it cannot tell.
    fn read_all(&mut self) -> bool {
        while let Some(frame) = self
            .body
            .as_mut()
            .and_then(|body| body.frame().now_or_never())
        {
            let Some(frame) = frame else {
                return false;
            };
            self.read
                .extend_from_slice(&frame.unwrap().into_data().unwrap());
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1);
                let event: Value = serde_json::from_slice(&line).unwrap();
                if !self.believe(&event) {
                    return false;
                }
            }
        }
        true
    }

    fn believe(&mut self, event: &Value) -> bool {
        let object = &event["object"];
        match event["type"].as_str().unwrap() {
            "ADDED" | "MODIFIED" => drop(self.copy.insert(uid(object), without_type(object))),
            "DELETED" => drop(self.copy.remove(&uid(object))),
            "BOOKMARK" => {}
            "ERROR" => return false,
            other => panic!("an event of type {other}"),
        }
        let at = object["metadata"]["resourceVersion"].as_str().unwrap();
        let revision = |text: &str| Revision::new(text.parse().unwrap());
        assert!(revision(at) >= revision(&self.at), "events come in order");
        self.at = at.to_owned();
        true
    }
}

async fn follow(acts: Vec<Act>) {
    let mut server = Server::new();
    // A watch from revision zero asks for what there is, in any order.
    server.write(0, Some(0));
    let (at, copy) = server.list().await;
    let mut client = Client {
        at,
        copy,
        body: None,
        read: BytesMut::new(),
        lists: 0,
    };
    // Only a server that lost history and started again may send a client back to the list.
    let (mut is_trimmed, mut lists_max) = (false, 0);
    for act in acts.into_iter().chain([Act::Pull]) {
        match act {
            Act::Put(name, value) => server.write(name, Some(value)),
            Act::Delete(name) => server.write(name, None),
            Act::Back(name) => server.bring_back(name),
            Act::Hang => client.body = None,
            Act::Restart => {
                lists_max += usize::from(is_trimmed);
                client.body = None;
                server = server.restart();
            }
            Act::Trim(keep) => {
                server.trim(keep);
                is_trimmed = true;
            }
            Act::Pull => {
                client.pull(&server).await;
                assert_eq!(client.copy, server.list().await.1, "WATCH-1, WATCH-2");
            }
        }
    }
    assert!(
        client.lists <= lists_max,
        "a watch that could go on was not told to list"
    );
}

proptest! {
    #[test]
    fn a_believing_client_has_what_a_list_shows(acts in prop::collection::vec(act(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follow(acts));
    }
}
