//! What must hold of twins once everything is healed and has come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::{EventId, Key, NodeName, Store};
use causeway_projections::Objects;
use causeway_projections::twin::reader::{Asked, Item, Seen, device, extent, page};
use causeway_projections::twin::{
    self, Desired, Device, DeviceName, Properties, Twins, Value as TwinValue, rebuild_twins, wishes,
};
use serde_json::Value;

use super::device::{Ledger, invariant_of};
use super::edge::EdgeRun;
use super::rest::Differs;
use super::{Invariant, World};
use crate::scenario::{TwinEnds, TwinSight};

impl World {
    /// TWIN-3, TWIN-4, TWIN-5 of one node.
    pub(super) fn same_twins(&self, n: usize) -> Result<(), Differs> {
        let node = &self.nodes[n];
        let name = node.name.as_str();
        let (Some(cloud), Some(edge)) = (&self.cloud, &node.edge) else {
            return Ok(());
        };
        let wanted = cloud.view.read(|objects| devices_on(objects, name));
        edge.twins
            .read(|twins| wishes_differ(&wanted, twins))
            .map_or(Ok(()), |what| {
                Err((Invariant::TwinDesired, format!("{name}: {what}")))
            })?;
        for (key, promised) in &node.ledger.promised {
            let held = edge.twins.read(|twins| {
                let device = twins.get(&DeviceName::of(key))?;
                (device.key == *key).then(|| Arc::clone(&device.twin.reported))
            });
            // It went with its Device.
            let Some(held) = held else { continue };
            for (property, told) in &promised.properties {
                let found = held.properties.get(property);
                let is_kept = found.is_some_and(|found| {
                    found.version > told.version
                        || (found.version == told.version && found.value == told.value)
                });
                if !is_kept {
                    let what = format!("{name}: {key} {property} was {told:?}, is {found:?}");
                    return Err((Invariant::TwinTaken, what));
                }
            }
            if promised.state > held.state {
                let (told, found) = (&promised.state, &held.state);
                let what = format!("{name}: {key} was {told:?}, is {found:?}");
                return Err((Invariant::TwinTaken, what));
            }
        }
        self.same_documents(n, edge)?;
        let is_whole = !node.has_lost_history && !self.has_lost_history;
        let differs =
            facts_differ(&node.ledger).or_else(|| readings_differ(&node.ledger, is_whole));
        differs.map_or(Ok(()), |(invariant, what)| {
            Err((invariant, format!("{name}: {what}")))
        })
    }

    /// SYNC-4 as users see it: the digests that `causeway twin` shows.
    fn same_documents(&self, n: usize, edge: &EdgeRun) -> Result<(), Differs> {
        let node = &self.nodes[n];
        let Some(cloud) = &self.cloud else {
            return Ok(());
        };
        let names: Vec<DeviceName> = edge
            .twins
            .read(|twins| twins.devices().map(|(name, _)| name.clone()).collect());
        for at in names {
            let digest = |store| {
                device(store, &node.name, &at.namespace, &at.name)
                    .ok()
                    .flatten()
                    .map(|seen| seen.twin.digest())
            };
            let (there, here) = (digest(&*cloud.writer.store), digest(&*edge.writer.store));
            if there != here || here.is_none() {
                let what = format!("{}: {at} is {there:?} and {here:?}", node.name);
                return Err((Invariant::DigestsEqual, what));
            }
        }
        Ok(())
    }

    /// A device of a node, as both ends have it.
    #[must_use]
    pub fn twin(&self, node: &NodeName, namespace: &str, name: &str) -> TwinEnds {
        let sight = |store: Option<&dyn Store>| {
            let seen = device(store?, node, namespace, name).ok().flatten()?;
            Some(sight(&seen))
        };
        let cloud = self.cloud.as_ref();
        let edge = self.find(node).and_then(|n| self.nodes[n].edge.as_ref());
        TwinEnds {
            cloud: sight(cloud.map(|cloud| &*cloud.writer.store as &dyn Store)),
            edge: sight(edge.map(|edge| &*edge.writer.store as &dyn Store)),
        }
    }

    /// How many readings of a device's property the cloud has; none while it does not run.
    #[must_use]
    pub fn readings(
        &self,
        node: &NodeName,
        namespace: &str,
        name: &str,
        property: &str,
    ) -> Option<u64> {
        let store = &*self.cloud.as_ref()?.writer.store;
        let asked = Asked {
            namespace: namespace.into(),
            name: name.into(),
            property: property.into(),
            since: None,
            until: None,
        };
        let Some(extent) = extent(store, node, &asked).ok()? else {
            return Some(0);
        };
        let (mut from, mut count) = (extent.begin, 0);
        loop {
            let page = page(store, node, &asked, from, 1000).ok()?;
            let is_reading = |item: &&Item| matches!(item, Item::Reading(_));
            count += page.items.iter().filter(is_reading).count() as u64;
            match page.next {
                Some(next) => from = next,
                None => return Some(count),
            }
        }
    }

    /// PROJ-1 of the twins of a node.
    pub(super) fn twins_rebuilt(&self, n: usize) -> Result<(), Differs> {
        let node = &self.nodes[n];
        let Some(edge) = &node.edge else {
            return Ok(());
        };
        let broken = |what: String| (Invariant::RebuildEqual, format!("{}: {what}", node.name));
        let rebuilt = rebuild_twins(&*edge.writer.store, &node.name)
            .map_err(|error| broken(error.to_string()))?;
        let shown = |twins: &Twins| -> BTreeMap<DeviceName, Arc<Device>> {
            let all = twins.devices();
            all.map(|(name, device)| (name.clone(), Arc::clone(device)))
                .collect()
        };
        let (now, rebuilt) = (edge.twins.read(shown), shown(&rebuilt));
        // What changed a device last may be a deletion that the store let go of.
        let is_same = |now: &Device, rebuilt: &Device| {
            let changed = now.changed;
            rebuilt.changed <= changed
                && *now
                    == Device {
                        changed,
                        ..rebuilt.clone()
                    }
        };
        let names = now.keys().chain(rebuilt.keys());
        let mut both = names.map(|name| (now.get(name), rebuilt.get(name)));
        let odd = both.find(|both| match both {
            (Some(now), Some(rebuilt)) => !is_same(now, rebuilt),
            _ => true,
        });
        let Some(odd) = odd else { return Ok(()) };
        Err(broken(format!("twins: {odd:?}")))
    }
}

fn sight(seen: &Seen) -> TwinSight {
    let values = |properties: &Properties| -> BTreeMap<String, String> {
        let values = properties.values();
        values
            .map(|(name, value)| (name.to_string(), value.value.to_string()))
            .collect()
    };
    TwinSight {
        desired: values(&seen.twin.desired.properties),
        reported: values(&seen.twin.reported.properties),
        state: (seen.twin.reported.shown_state()).map(|state| state.state.to_string()),
        digest: seen.twin.digest().to_string(),
    }
}

/// The Devices that the cloud binds to a node.
fn devices_on(objects: &Objects, node: &str) -> BTreeMap<DeviceName, (Value, Option<Value>)> {
    let models = twin::models();
    objects
        .list(&twin::devices(), None, None)
        .map(|entry| (DeviceName::of(entry.key()), entry.object()))
        .filter(|(_, device)| device["spec"]["nodeName"] == node)
        .map(|(name, device)| {
            let model = device["spec"]["deviceModelRef"]["name"].as_str();
            let model = model
                .and_then(|model| objects.get(&models, &name.namespace, model))
                .map(|model| model.object()["spec"].clone());
            (name, (device, model))
        })
        .collect()
}

/// How what a node was told differs from what the cloud wants.
fn wishes_differ(
    wanted: &BTreeMap<DeviceName, (Value, Option<Value>)>,
    twins: &Twins,
) -> Option<String> {
    for (name, (device, model)) in wanted {
        let Some(held) = twins.get(name) else {
            return Some(format!("has no device {name}"));
        };
        let uid = &device["metadata"]["uid"];
        if *uid != held.key.uid.to_string().as_str() {
            return Some(format!("has {} in place of {uid} as {name}", held.key.uid));
        }
        let values: BTreeMap<Arc<str>, TwinValue> = values(&held.twin.desired);
        if values != wishes(device) {
            let wanted = wishes(device);
            return Some(format!(
                "{name} is to be {wanted:?} and was told {values:?}"
            ));
        }
        let found = held.model.as_ref().map(|model| &model["spec"]);
        if found != model.as_ref() {
            return Some(format!("{name} has the model {found:?}, not {model:?}"));
        }
    }
    let odd = twins
        .devices()
        .find(|(name, _)| !wanted.contains_key(*name));
    odd.map(|(name, _)| format!("has a device {name} that is not its"))
}

fn values(desired: &Desired) -> BTreeMap<Arc<str>, TwinValue> {
    let values = desired.properties.values();
    values
        .map(|(name, value)| (Arc::clone(name), value.clone()))
        .collect()
}

/// TWIN-5 and FACT-1: facts that are neither in the cloud nor counted.
fn facts_differ(ledger: &Ledger) -> Option<Differs> {
    let is_missing = |(id, _): &(&EventId, &Key)| !ledger.arrived.contains(*id);
    let missing: Vec<(&EventId, &Key)> = ledger.kept.iter().filter(is_missing).collect();
    let given_up = ledger.given_up;
    let (_, key) = missing
        .first()
        .filter(|_| missing.len() as u64 > given_up)?;
    let what = format!(
        "{} facts did not arrive, {given_up} were given up: {:?}",
        missing.len(),
        missing.first()
    );
    Some((invariant_of(key), what))
}

/// TWIN-5: readings that are neither in the cloud nor counted, and readings that nobody made.
/// `is_whole`: no disk of the two went back in time, after which readings may come again.
fn readings_differ(ledger: &Ledger, is_whole: bool) -> Option<Differs> {
    let (mut lost, mut odd) = (0, None);
    for ((device, property, value), count) in &ledger.readings {
        if count.arrived > count.issued && is_whole {
            let (arrived, issued) = (count.arrived, count.issued);
            let what = format!(
                "{device} {property}: {value} was read {issued} times and came {arrived} times"
            );
            return Some((Invariant::ReadingsOnce, what));
        }
        let missing = count.acked.saturating_sub(count.arrived);
        lost += missing;
        if missing > 0 {
            odd.get_or_insert((device, property, value));
        }
    }
    // A record that was given up held some of them; how many is known to nobody.
    (lost > ledger.dropped && ledger.given_up == 0).then(|| {
        let dropped = ledger.dropped;
        let what = format!(
            "{lost} readings that were acknowledged did not arrive, {dropped} are counted: {odd:?}"
        );
        (Invariant::ReadingsOnce, what)
    })
}
