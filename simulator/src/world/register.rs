//! What a kubelet says of its node.

use std::collections::BTreeMap;

use causeway_edged::pod::NodeFacts;
use causeway_edged::status::node::{self as node_status, HostFacts, Pressure};
use causeway_edged::status::patch;
use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Change, Clock as _, Expected, Write};
use causeway_log::{Key, Resource, Uid};

use super::kubelet::Kubelet;
use super::{World, runtime};

impl World {
    /// The node registers itself, and says how it is.
    pub(super) fn tell_node(&mut self, n: usize, kubelet: &mut Kubelet) {
        let node = &self.nodes[n];
        let Some(edge) = &node.edge else { return };
        if kubelet.telling.contains_key("") || self.now < kubelet.holds_until {
            return;
        }
        let nodes = Resource::core("nodes");
        let name = node.name.as_str();
        let entry = edge
            .view
            .read(|objects| objects.get(&nodes, "", name).cloned());
        let now = node.clock.timestamp();
        let (host, info) = (host(), runtime::info());
        let write = match entry {
            None if kubelet.is_registered => None,
            None => {
                let labels = node_status::labels(&node.facts, &host, &BTreeMap::new());
                let object = node_status::object(&node.facts, &labels, &info);
                let kind = self.catalog.find_kind("", "v1", "Node");
                let kind = kind.expect("nodes are built in");
                let uid = node.clock.uid();
                let context = Context {
                    now: node.clock.now(),
                    uid,
                    namespace: String::new(),
                    name: String::new(),
                    field_validation: FieldValidation::Ignore,
                };
                let prepared = prepare_create(kind, object, &context).expect("nodes are valid");
                let key = Key::new(nodes, "", name, Uid::Uuid(uid)).expect("the name is valid");
                Some(Write {
                    key,
                    expected: Expected::Absent,
                    change: Change::Put(prepared.object),
                })
            }
            Some(entry) => {
                let mut object = entry.object();
                let previous = object["status"].clone();
                let pressure = Pressure::default();
                let wanted =
                    node_status::status(&node.facts, &host, &info, pressure, &previous, now);
                patch(&previous, &wanted, "").map(|_| {
                    object["status"] = wanted;
                    Write {
                        key: entry.key().clone(),
                        expected: Expected::At(entry.modified()),
                        change: Change::Status(object),
                    }
                })
            }
        };
        kubelet.is_registered = true;
        if let Some(write) = write
            && let Some(answer) = self.write_local(n, write)
        {
            kubelet.telling.insert(String::new(), answer);
        }
    }
}

pub(super) fn facts(name: &str, n: usize) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        address: format!("10.0.{}.{}", n / 250, n % 250 + 1),
    }
}

fn host() -> HostFacts {
    HostFacts {
        cpus: 2,
        memory_kib: 1 << 20,
        disk_kib: 1 << 23,
        architecture: "amd64",
        kernel: "simulated".to_owned(),
        os_image: "simulated".to_owned(),
        machine_id: "simulated".to_owned(),
        boot_id: "simulated".to_owned(),
    }
}
