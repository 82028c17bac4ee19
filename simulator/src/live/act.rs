//! Doing what a scenario says, on real processes and links.

use std::time::Duration;

use causeway_kube_api::client::PatchFormat;
use causeway_log::NodeName;
use serde_json::Value;

use super::flap::Flap;
use super::site::Node;
use super::{Live, LiveError, stand_in, users};
use crate::proxy::{CutMode, Link, Slow};
use crate::scenario::{Action, Cut, Manifest, Road, Target};

impl Live {
    pub(super) fn do_act(&mut self, action: &Action) -> Result<(), LiveError> {
        match action {
            Action::Cut { .. }
            | Action::Heal(_)
            | Action::Flap { .. }
            | Action::Slow { .. }
            | Action::Storm(_) => self.do_link(action),
            Action::Apply(manifests) => self.apply(manifests),
            Action::Delete(target) => self.delete(target),
            Action::EdgeWrite {
                nodes,
                target,
                patch,
            } => self.edge_write(nodes, target, patch),
            Action::Report(report) => self.report(report),
            Action::Kill(parts) => {
                for part in parts {
                    for daemon in self.site.part(part) {
                        self.runtime.block_on(daemon.kill())?;
                    }
                }
            }
            Action::Start(parts) => {
                let _context = self.runtime.enter();
                for part in parts {
                    for daemon in self.site.part(part) {
                        daemon.start()?;
                    }
                }
            }
            Action::Reboot(nodes) => {
                for name in nodes {
                    if let Some(node) = self.site.node(name) {
                        self.runtime.block_on(node.reboot())?;
                    }
                }
            }
            Action::Wipe(parts) => {
                for part in parts {
                    self.runtime.block_on(self.site.wipe(part))?;
                }
            }
            Action::Snapshot(parts) => {
                for part in parts {
                    self.runtime.block_on(self.site.snapshot(part))?;
                }
            }
            Action::Restore(parts) => {
                for part in parts {
                    self.runtime.block_on(self.site.restore(part))?;
                }
            }
            // Refused before anything was started.
            Action::Clock { .. } | Action::Disk { .. } => {}
        }
        Ok(())
    }

    fn do_link(&mut self, action: &Action) {
        if let Action::Cut { nodes, how } = action {
            let mode = match how {
                Cut::Silent => CutMode::Silent,
                Cut::Reset => CutMode::Reset,
                Cut::ToEdge => CutMode::ToEdge,
                Cut::ToCloud => CutMode::ToCloud,
            };
            self.links(nodes, |node| node.set_link(Link::Cut { mode }));
        }
        if let Action::Heal(nodes) = action {
            self.links(nodes, |node| {
                node.slow = None;
                node.set_link(Link::Whole);
            });
        }
        if let Action::Flap { nodes, up, down } = action {
            let flap = Flap {
                since: self.pace.now(),
                up: *up,
                down: *down,
            };
            self.links(nodes, |node| {
                node.set_link(node.open());
                node.flap = Some(flap);
                node.flap_at(flap.since);
            });
        }
        if let Action::Slow { nodes, road } = action {
            let slow = slow(road);
            self.links(nodes, |node| {
                node.slow = Some(slow);
                // A link that is cut stays so, and is slow when it carries again.
                if matches!(node.link.link(), Link::Whole | Link::Slow(_)) {
                    node.link.set(Link::Slow(slow));
                }
            });
        }
        if let Action::Storm(nodes) = action {
            self.links(nodes, |node| {
                node.set_link(node.open());
                node.link.break_all();
            });
        }
    }

    fn links(&mut self, nodes: &[NodeName], act: impl Fn(&mut Node)) {
        for name in nodes {
            if let Some(node) = self.site.node(name) {
                act(node);
            }
        }
    }

    fn apply(&mut self, manifests: &[Manifest]) {
        for Manifest {
            object, resource, ..
        } in manifests
        {
            let mut object = object.clone();
            stand_in::put(&mut object, self.settings.commands);
            if let Err(why) = self.users.apply(object, resource.as_deref()) {
                self.refusals.push((self.pace.now(), why));
            }
        }
    }

    fn delete(&mut self, target: &Target) {
        let asked = self.users.delete(&self.site.cloud_api, target);
        if let Err(why) = self.runtime.block_on(asked) {
            self.refusals.push((self.pace.now(), why));
        }
    }

    fn edge_write(&mut self, nodes: &[NodeName], target: &Target, patch: &Value) {
        for name in nodes {
            let Some(node) = self.site.node(name) else {
                continue;
            };
            let api = node.api.clone();
            let written = self.runtime.block_on(async {
                let (_, gvr) = users::find_kind(&api, &target.resource).await?;
                let (namespace, name) = (&target.namespace, &target.name);
                let patched = api.patch(&gvr, namespace, name, PatchFormat::Merge, patch);
                patched.await.map(drop).map_err(|error| {
                    error
                        .status()
                        .map_or_else(|| error.to_string(), |status| status.message.clone())
                })
            });
            if let Err(why) = written {
                let why = format!("by {name}: {why}");
                self.refusals.push((self.pace.now(), why));
            }
        }
    }
}

fn slow(road: &Road) -> Slow {
    let Road {
        delay,
        jitter,
        bytes_per_second,
        loss_per_mille,
    } = *road;
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Slow {
        delay_ms: millis(delay),
        jitter_ms: millis(jitter),
        bytes_per_second,
        loss_per_mille,
    }
}
