use causeway_daemon::tasks::Shutdown;
use causeway_log::store::memory::{Disk, MemoryStore};
use causeway_log::writer::Writer;
use causeway_log::{Key, WallTime};
use serde_json::{Value, json};

use super::super::monotonic;
use super::*;
use crate::cluster::{ClusterMachine, Seen};
use crate::hub::Monotonic;
use crate::rig::{self, Counter};

/// The time of the paused clock.
#[derive(Debug)]
struct Paused(tokio::time::Instant);

impl Monotonic for Paused {
    fn elapsed(&self) -> Duration {
        monotonic().saturating_duration_since(self.0)
    }
}

struct Place {
    leavers: Leavers,
    shutdown: Shutdown,
    _writer: Writer,
}

fn name(node: &str) -> NodeName {
    NodeName::new(node).unwrap()
}

fn node(node: &str) -> (Key, Value) {
    let key = rig::key("nodes", "", node);
    let labels = json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}});
    let object = rig::object(&key, "Node", labels);
    (key, object)
}

impl Place {
    /// A mirror of a cluster with these nodes, all of which had a session.
    async fn with(nodes: &[&str]) -> Self {
        let (store, _) = MemoryStore::on(&Disk::new()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let hub = Hub::with_time(10, Arc::new(Paused(monotonic())));
        let machine = ClusterMachine::start_mirror(
            Arc::clone(&store),
            Arc::<Counter>::default(),
            Arc::clone(&hub),
            Arc::default(),
        )
        .unwrap();
        let (view, depths) = (machine.view(), machine.depths());
        let (writer, handle) = Writer::spawn("test", Arc::clone(&store), machine);
        let place = Self {
            leavers: Leavers {
                view,
                store,
                hub,
                writer: Requests::new(handle, depths),
            },
            shutdown: Shutdown::new(),
            _writer: writer,
        };
        let key = rig::key("namespaces", "", "kube-system");
        let object = rig::object(&key, "Namespace", json!({}));
        let mut seen = vec![Seen::Complete { key, object }];
        for (key, object) in nodes.iter().map(|name| node(name)) {
            let version = None;
            seen.push(Seen::Present {
                key,
                object,
                version,
            });
        }
        place.see(seen).await;
        for node in nodes {
            place.session(node);
        }
        place
    }

    async fn see(&self, seen: Vec<Seen>) {
        let (answer, answered) = oneshot::channel();
        let request = Request::Mirror { seen, answer };
        self.leavers.writer.send(request).await.unwrap();
        answered.await.unwrap().unwrap();
    }

    async fn leaves(&self, name: &str) {
        let (key, _) = node(name);
        self.see(vec![Seen::Gone { key }]).await;
    }

    /// A session that has ended when this returns.
    fn session(&self, node: &str) {
        let hub = &self.leavers.hub;
        let (seat, _control) = hub.admit(&name(node), self.shutdown.token()).unwrap();
        seat.take_over(WallTime::default());
        seat.leave("it goes", WallTime::default());
    }

    async fn after(&self, time: Duration) -> Vec<String> {
        tokio::time::advance(time).await;
        self.leavers.forget().await.unwrap();
        let streams = self.leavers.store.streams().unwrap().into_iter();
        let known = streams.filter_map(|stream| match stream {
            StreamId::Node(node, Direction::Down) => Some(node.to_string()),
            StreamId::Node(_, Direction::Up) | StreamId::Cluster => None,
        });
        known.collect()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_node_that_left_the_cluster_is_forgotten_an_hour_after_its_last_session() {
    let place = Place::with(&["left", "returns", "stays"]).await;
    assert_eq!(place.after(MINUTE).await, ["left", "returns", "stays"]);
    place.leaves("left").await;
    place.leaves("returns").await;
    assert_eq!(place.after(58 * MINUTE).await, ["left", "returns", "stays"]);
    place.session("returns");
    assert_eq!(place.after(2 * MINUTE).await, ["returns", "stays"]);
    // One that is in the cluster may be away for ever.
    assert_eq!(place.after(24 * 60 * MINUTE).await, ["stays"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_session_is_not_forgotten_however_old_it_is() {
    let place = Place::with(&["left"]).await;
    place.leaves("left").await;
    let (seat, _control) = (place.leavers.hub)
        .admit(&name("left"), place.shutdown.token())
        .unwrap();
    seat.take_over(WallTime::default());
    assert_eq!(place.after(3 * 60 * MINUTE).await, ["left"]);
    seat.leave("it goes", WallTime::default());
    drop(seat);
    assert_eq!(place.after(59 * MINUTE).await, ["left"]);
    assert!(place.after(2 * MINUTE).await.is_empty());
}
