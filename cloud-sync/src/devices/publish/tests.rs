use causeway_log::{Op, Uid};
use causeway_projections::twin::{GROUP, Report, Rules};
use serde_json::json;

use super::*;
use crate::rig::Rig;

const SECOND: Duration = Duration::from_secs(1);

/// A cluster that has what was written to it.
#[derive(Default)]
struct Paper(parking_lot::Mutex<BTreeMap<DeviceName, Value>>);

impl Target for Paper {
    fn shown(&self, device: &Key) -> Option<Value> {
        self.0.lock().get(&DeviceName::of(device)).cloned()
    }

    fn write(&self, device: Key, status: Value) -> BoxFuture<'_, Result<(), NotWritten>> {
        self.0.lock().insert(DeviceName::of(&device), status);
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, name: &DeviceName) {
        self.0.lock().remove(name);
    }
}

struct Desk {
    rig: Rig,
    turns: Turns,
    paper: Arc<Paper>,
    reported: Reported,
}

fn oven(on: &str, annotations: Value) -> (Key, Value) {
    let resource = causeway_log::Resource::new(GROUP, "devices");
    let uid = Uid::Uuid(uuid::Uuid::from_u128(7));
    let key = Key::new(resource, "default", "oven", uid).unwrap();
    let object = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "metadata": {"name": "oven", "namespace": "default", "uid": key.uid.to_string(),
            "annotations": annotations},
        "spec": {"nodeName": on, "properties": [{"name": "is"}]},
    });
    (key, object)
}

impl Desk {
    fn new(annotations: Value) -> Self {
        let mut rig = Rig::new();
        rig.create(oven("n1", annotations));
        let paper = Arc::new(Paper::default());
        let publisher = Publisher {
            view: rig.machine.view(),
            store: Arc::<causeway_log::store::memory::MemoryStore>::clone(&rig.store),
            changed: rig.machine.changed_devices(),
            settings: config::Devices::default(),
            stats: Arc::default(),
            target: Arc::<Paper>::clone(&paper),
        };
        Self {
            rig,
            turns: Turns::new(publisher),
            paper,
            reported: Reported::default(),
        }
    }

    /// A node reports the property.
    fn report(&mut self, from: &str, value: &str) {
        let (key, device) = oven("n1", json!({}));
        let report = Report {
            value: Some(causeway_projections::twin::Value::new(value)),
            ..Report::default()
        };
        let rules = Rules::of(&device, None);
        self.reported.report("is", report, &rules).unwrap();
        let draft = self.rig.draft(&key, Op::Twin, &self.reported.encode());
        self.rig.send(from, vec![draft]);
    }

    /// What is written at a time, to the end.
    fn turn(&mut self, at: Duration) -> usize {
        for name in self.turns.publisher.changed.take() {
            self.turns.pacing.mark(name);
        }
        let mut written = 0;
        while let Some((name, node, device, status, pacer)) = self.turns.next(at) {
            drop(self.paper.write(device, status));
            self.turns.ended(&name, node, &pacer, Ok(()), at);
            written += 1;
        }
        written
    }

    fn shown(&self) -> Option<String> {
        let (key, _) = oven("n1", json!({}));
        let status = self.paper.shown(&key)?;
        let value = status["status"]["twins"][0]["reported"]["value"].as_str()?;
        Some(value.to_owned())
    }
}

#[test]
fn what_a_device_reports_is_written_once_an_interval() {
    let mut desk = Desk::new(json!({}));
    assert_eq!(desk.turn(SECOND), 0, "nothing was reported");
    desk.report("n1", "20");
    assert_eq!(desk.turn(SECOND), 1);
    assert_eq!(desk.shown().as_deref(), Some("20"));
    for value in ["21", "22", "23"] {
        desk.report("n1", value);
        assert_eq!(desk.turn(5 * SECOND), 0);
    }
    // Drawn out by a tenth at most.
    assert_eq!(desk.turn(13 * SECOND), 1);
    assert_eq!(desk.shown().as_deref(), Some("23"));
    desk.report("n1", "24");
    desk.report("n1", "23");
    assert_eq!(desk.turn(60 * SECOND), 0, "it says so already");
    let stats = &desk.turns.publisher.stats;
    assert_eq!(stats.writes.get(), 2);
    assert!(stats.suppressed.get() >= 1);
}

#[test]
fn only_the_node_of_a_device_speaks_for_it() {
    let mut desk = Desk::new(json!({}));
    desk.report("n2", "666");
    assert_eq!(desk.turn(SECOND), 0);
    let refused = crate::writeback::Outcome::Refused;
    assert_eq!(desk.rig.outcomes.get(refused), 1);
    desk.report("n1", "20");
    assert_eq!(desk.turn(2 * SECOND), 1);
    assert_eq!(desk.shown().as_deref(), Some("20"));
    let kept = crate::writeback::Outcome::Kept;
    assert_eq!(desk.rig.outcomes.get(kept), 1);
}

#[test]
fn a_small_change_waits_until_it_is_worth_a_write() {
    let change = json!({crate::devices::CHANGE_ANNOTATION: "is=change:1"});
    let mut desk = Desk::new(change);
    desk.report("n1", "20");
    assert_eq!(desk.turn(SECOND), 1);
    desk.report("n1", "20.5");
    assert_eq!(desk.turn(30 * SECOND), 0);
    assert_eq!(desk.shown().as_deref(), Some("20"));
    desk.report("n1", "21.5");
    assert_eq!(desk.turn(31 * SECOND), 1);
    desk.report("n1", "21.6");
    assert_eq!(desk.turn(90 * SECOND), 0);
    assert_eq!(
        desk.turn(92 * SECOND),
        1,
        "after six intervals all the same"
    );
    assert_eq!(desk.shown().as_deref(), Some("21.6"));
}

#[test]
fn a_document_that_cannot_be_read_is_counted_and_a_device_that_went_is_forgotten() {
    let mut desk = Desk::new(json!({}));
    desk.report("n1", "20");
    assert_eq!(desk.turn(SECOND), 1);
    let (key, _) = oven("n1", json!({}));
    let draft = desk.rig.draft(&key, Op::Twin, b"{\"properties\":[]}");
    desk.rig.send("n1", vec![draft]);
    assert_eq!(desk.turn(60 * SECOND), 0);
    assert_eq!(desk.turns.publisher.stats.malformed.get(), 1);
    assert_eq!(desk.shown().as_deref(), Some("20"), "what was said stands");
    desk.rig.delete(&key).unwrap();
    assert_eq!(desk.turn(61 * SECOND), 0);
    assert_eq!(desk.shown(), None);
    assert!(desk.turns.written.is_empty());
}

#[test]
fn what_the_disk_does_not_give_is_looked_at_again() {
    let mut desk = Desk::new(json!({}));
    desk.report("n1", "20");
    let disk = desk.rig.store.disk().clone();
    disk.set_fault(causeway_log::store::memory::Fault::ReadFails { one_in: 1 });
    assert_eq!(desk.turn(SECOND), 0);
    disk.heal();
    assert_eq!(desk.turn(SECOND + RETRY), 1);
    assert_eq!(desk.shown().as_deref(), Some("20"));
}

#[test]
fn a_cluster_without_the_kind_is_asked_again_after_a_while() {
    let mut desk = Desk::new(json!({}));
    desk.report("n1", "20");
    let _ = desk.turns.publisher.changed.take();
    let (name, node, _, _, pacer) = desk.turns.next(SECOND).unwrap();
    let reason = "no such kind".to_owned();
    let missing = Err(NotWritten::NoKind { reason });
    desk.turns.ended(&name, node, &pacer, missing, SECOND);
    assert_eq!(desk.turn(60 * SECOND), 0);
    assert_eq!(desk.turns.wake(), Some(SECOND + UNKNOWN_PAUSE));
    assert_eq!(desk.turn(SECOND + UNKNOWN_PAUSE), 1);
    assert!(!desk.turns.is_kind_missing);
}
