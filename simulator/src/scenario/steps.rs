//! `timeline:`: what happens when.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_log::NodeName;

use super::devices;
use super::fields::{Fields, Notes};
use super::manifests::{self, Files};
use super::model::{Action, Cut, DiskFault, Manifest, Part, Report, Road, Step};
use super::read::Names;
use super::span;
use super::targets::target;
use super::tree::{At, Tree};

/// The most steps, repetitions included.
const STEPS_MAX: usize = 100_000;

const VERBS: [&str; 17] = [
    "cut",
    "heal",
    "flap",
    "slow",
    "storm",
    "apply",
    "delete",
    "edge-write",
    "report",
    "kill",
    "start",
    "reboot",
    "disk",
    "wipe",
    "snapshot",
    "restore",
    "clock",
];
const KNOWN: &str = "one of cut, heal, flap, slow, storm, apply, delete, edge-write, report, kill, \
                     start, reboot, disk, wipe, snapshot, restore, clock";

/// Reads the steps, in the order of time.
pub(super) fn read(
    tree: &At<Tree>,
    names: &Names<'_>,
    nodes: &[NodeName],
    files: &dyn Files,
    notes: &mut Notes,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for item in notes.list(tree, "a list of things that happen, each with `at:`") {
        let Some(fields) = notes.fields(item, "a mapping with `at:` and what happens") else {
            continue;
        };
        let reader = Reader {
            names,
            nodes,
            files,
        };
        reader.step(fields, &mut steps, notes);
    }
    if steps.len() > STEPS_MAX {
        notes.at(tree.place, format!("expected at most {STEPS_MAX} steps"));
    }
    steps.sort_by_key(|step: &Step| step.at);
    check_restores(&steps, notes);
    steps
}

/// What is restored must have been copied before.
fn check_restores(steps: &[Step], notes: &mut Notes) {
    let mut copied: BTreeSet<&Part> = BTreeSet::new();
    for step in steps {
        if let Action::Snapshot(parts) = &step.action {
            copied.extend(parts);
        }
        if let Action::Restore(parts) = &step.action {
            for part in parts.iter().filter(|part| !copied.contains(part)) {
                let machine = part.machine();
                let what = format!("expected a `snapshot:` of {machine} before this, found none");
                notes.at(step.place, what);
            }
        }
    }
}

struct Reader<'a> {
    names: &'a Names<'a>,
    nodes: &'a [NodeName],
    files: &'a dyn Files,
}

impl Reader<'_> {
    fn step(&self, mut fields: Fields<'_>, steps: &mut Vec<Step>, notes: &mut Notes) {
        let place = fields.place;
        let at = fields
            .need("at", "when, such as 10s or 2h", notes)
            .and_then(|tree| notes.span(tree))
            .unwrap_or_default();
        let verbs: Vec<&str> = fields.names().filter(|name| VERBS.contains(name)).collect();
        let [verb] = verbs.as_slice() else {
            let others = || fields.names().map(|name| format!("`{name}`"));
            let found = match verbs.len() {
                0 if others().next().is_none() => "none".to_owned(),
                0 => others().collect::<Vec<_>>().join(", "),
                _ => verbs.join(" and "),
            };
            notes.at(
                place,
                format!("expected {KNOWN} at this time, found {found}"),
            );
            return;
        };
        let Some(subject) = fields.take(verb) else {
            return;
        };
        let label = label(verb, subject);
        if *verb == "report" {
            self.report(at, label, subject, fields, steps, notes);
            return;
        }
        let lasting = match *verb {
            "cut" | "flap" | "slow" | "kill" | "disk" => {
                fields.take("for").and_then(|tree| notes.span(tree))
            }
            _ => None,
        };
        let (action, known) = self.action(verb, subject, &mut fields, notes);
        fields.finish(known, notes);
        let Some(action) = action else { return };
        let undo = lasting.and_then(|lasting| {
            let (action, verb) = undo(&action)?;
            Some(Step {
                at: at.saturating_add(lasting).min(span::LONGEST),
                place,
                label: format!(
                    "{verb} {}",
                    label.split_once(' ').map_or("", |(_, rest)| rest)
                ),
                action,
            })
        });
        steps.push(Step {
            at,
            place,
            label: label + &detail(&action),
            action,
        });
        steps.extend(undo);
    }

    /// A report, and those that repeat it.
    fn report(
        &self,
        at: Duration,
        label: String,
        subject: &At<Tree>,
        mut fields: Fields<'_>,
        steps: &mut Vec<Step>,
        notes: &mut Notes,
    ) {
        let place = fields.place;
        let nodes = fields.need("node", "that the device is attached to", notes);
        let nodes = nodes.map(|tree| self.names.nodes(tree, notes));
        let read = devices::reports(subject, nodes.unwrap_or_default(), &mut fields, notes);
        fields.finish(
            "one of at, node, values, state, every, for beside `report`",
            notes,
        );
        let reports = read.into_iter().flatten();
        steps.extend(reports.map(|(after, action)| Step {
            at: at.saturating_add(after).min(span::LONGEST),
            place,
            label: label.clone() + &detail(&action),
            action,
        }));
    }

    /// The action, and which keys it may have beside it.
    fn action(
        &self,
        verb: &str,
        subject: &At<Tree>,
        fields: &mut Fields<'_>,
        notes: &mut Notes,
    ) -> (Option<Action>, &'static str) {
        let names = self.names;
        let mut known = "nothing but `at` beside it";
        let action = match verb {
            "cut" => {
                known = "one of at, how, for beside `cut`";
                cut(names.nodes(subject, notes), fields, notes)
            }
            "heal" => Action::Heal(names.nodes(subject, notes)),
            "storm" => Action::Storm(names.nodes(subject, notes)),
            "flap" => {
                known = "one of at, up, down, for beside `flap`";
                let nodes = names.nodes(subject, notes);
                return (flap(nodes, fields, notes), known);
            }
            "slow" => {
                known = "one of at, delay, jitter, rate, loss, for beside `slow`";
                Action::Slow {
                    nodes: names.nodes(subject, notes),
                    road: road(fields, notes),
                }
            }
            "apply" => {
                known = "one of at, resource beside `apply`";
                let resource = fields.take("resource").and_then(|tree| {
                    notes.text(tree, "the resource of a custom kind: widgets.example.com")
                });
                let resource = resource.as_deref();
                let read = manifests::entry(subject, resource, self.nodes, self.files, notes);
                Action::Apply(read)
            }
            "delete" => return (target(subject, notes).map(Action::Delete), known),
            "edge-write" => {
                known = "one of at, node, patch beside `edge-write`";
                return (self.edge_write(subject, fields, notes), known);
            }
            "disk" => {
                known = "one of at, fault, for beside `disk`";
                return (self.disk(subject, fields, notes), known);
            }
            "kill" => {
                known = "one of at, for beside `kill`";
                Action::Kill(names.parts(subject, notes))
            }
            "start" => Action::Start(names.parts(subject, notes)),
            "reboot" => Action::Reboot(names.nodes(subject, notes)),
            "wipe" => Action::Wipe(self.machines(subject, notes)),
            "snapshot" => Action::Snapshot(self.machines(subject, notes)),
            "restore" => Action::Restore(self.machines(subject, notes)),
            _ => {
                known = "one of at, by beside `clock`";
                let by = fields.need("by", "how far, such as 2h or -730d", notes);
                Action::Clock {
                    parts: self.machines(subject, notes),
                    by_millis: by.and_then(|tree| signed(tree, notes)).unwrap_or(0),
                }
            }
        };
        (Some(action), known)
    }

    fn edge_write(
        &self,
        subject: &At<Tree>,
        fields: &mut Fields<'_>,
        notes: &mut Notes,
    ) -> Option<Action> {
        let target = target(subject, notes);
        let nodes = fields.need("node", "whose local API is asked", notes);
        let nodes = nodes.map(|tree| self.names.nodes(tree, notes));
        let patch = fields.need("patch", "what is merged into the object", notes)?;
        if patch.value.as_map().is_none() {
            notes.expected(patch, "a mapping that is merged into the object");
            return None;
        }
        let target = target?;
        if target.grace.is_some() {
            notes.at(subject.place, "expected no `grace:` of an object to patch");
        }
        Some(Action::EdgeWrite {
            nodes: nodes?,
            target,
            patch: patch.value.json(),
        })
    }

    fn disk(
        &self,
        subject: &At<Tree>,
        fields: &mut Fields<'_>,
        notes: &mut Notes,
    ) -> Option<Action> {
        let faults = [
            ("full", DiskFault::Full),
            ("write-fails", DiskFault::WriteFails),
            ("sync-fails", DiskFault::SyncFails),
            ("read-fails", DiskFault::ReadFails),
            ("none", DiskFault::None),
        ];
        let parts = self.machines(subject, notes);
        let what = "full, write-fails, sync-fails, read-fails, or none when it works again";
        let fault = fields.need("fault", what, notes)?;
        let fault = notes.word(fault, &faults)?;
        Some(Action::Disk { parts, fault })
    }

    /// Disks and clocks belong to the cloud and to nodes as a whole.
    fn machines(&self, tree: &At<Tree>, notes: &mut Notes) -> Vec<Part> {
        let parts = self.names.parts(tree, notes);
        let whole = |part: &Part| matches!(part, Part::Cloud | Part::Node(_));
        if !parts.iter().all(whole) {
            notes.expected(tree, "cloud or a whole node");
        }
        parts
    }
}

fn cut(nodes: Vec<NodeName>, fields: &mut Fields<'_>, notes: &mut Notes) -> Action {
    let ways = [
        ("silent", Cut::Silent),
        ("reset", Cut::Reset),
        ("to-edge", Cut::ToEdge),
        ("to-cloud", Cut::ToCloud),
    ];
    let how = fields
        .take("how")
        .and_then(|tree| notes.word(tree, &ways))
        .unwrap_or_default();
    Action::Cut { nodes, how }
}

/// What ends a fault that lasts for a while.
fn undo(action: &Action) -> Option<(Action, &'static str)> {
    match action {
        Action::Cut { nodes, .. } | Action::Flap { nodes, .. } | Action::Slow { nodes, .. } => {
            Some((Action::Heal(nodes.clone()), "heal"))
        }
        Action::Kill(parts) => Some((Action::Start(parts.clone()), "start")),
        Action::Disk { parts, .. } => {
            let (parts, fault) = (parts.clone(), DiskFault::None);
            Some((Action::Disk { parts, fault }, "mend disk of"))
        }
        Action::Heal(_)
        | Action::Storm(_)
        | Action::Apply(_)
        | Action::Delete(_)
        | Action::EdgeWrite { .. }
        | Action::Report(_)
        | Action::Start(_)
        | Action::Reboot(_)
        | Action::Wipe(_)
        | Action::Snapshot(_)
        | Action::Restore(_)
        | Action::Clock { .. } => None,
    }
}

fn flap(nodes: Vec<NodeName>, fields: &mut Fields<'_>, notes: &mut Notes) -> Option<Action> {
    let mut span = |name, what| {
        let tree = fields.need(name, what, notes)?;
        let span = notes.span(tree)?;
        if span < Duration::from_millis(10) {
            notes.expected(tree, "a time of at least 10ms");
            return None;
        }
        Some(span)
    };
    let up = span("up", "how long the link is whole each time");
    let down = span("down", "how long the link is cut each time");
    Some(Action::Flap {
        nodes,
        up: up?,
        down: down?,
    })
}

fn road(fields: &mut Fields<'_>, notes: &mut Notes) -> Road {
    let mut span = |name| fields.take(name).and_then(|tree| notes.span(tree));
    let (delay, jitter) = (span("delay"), span("jitter"));
    let rate = fields.take("rate").and_then(|tree| {
        let read = tree.value.as_text().and_then(rate);
        if read.is_none() {
            notes.expected(tree, "bytes per second such as 500B, 2kB or 1MB");
        }
        read
    });
    let loss = fields.take("loss").and_then(|tree| {
        let read = tree.value.as_text().and_then(per_mille);
        if read.is_none() {
            notes.expected(tree, "a share such as 5% or 0.1%, at most 90%");
        }
        read
    });
    Road {
        delay: delay.unwrap_or_default(),
        jitter: jitter.unwrap_or_default(),
        bytes_per_second: rate,
        loss_per_mille: loss.unwrap_or(0),
    }
}

fn rate(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches("/s");
    let (number, factor) = [("kB", 1_000), ("MB", 1_000_000), ("B", 1)]
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let number = number.trim().parse::<u64>().ok()?.checked_mul(factor)?;
    Some(number).filter(|number| *number > 0)
}

fn per_mille(text: &str) -> Option<u16> {
    let number = text.trim().strip_suffix('%')?.trim();
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths = if tenths.len() == 1 {
        tenths.parse::<u16>().ok()?
    } else {
        return None;
    };
    let loss = whole
        .parse::<u16>()
        .ok()?
        .checked_mul(10)?
        .checked_add(tenths)?;
    Some(loss).filter(|loss| *loss <= 900)
}

fn signed(tree: &At<Tree>, notes: &mut Notes) -> Option<i64> {
    let read = tree.value.as_text().and_then(|text| {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let millis = i64::try_from(span::parse(rest)?.as_millis()).ok()?;
        Some(sign * millis)
    });
    if read.is_none() {
        notes.expected(tree, "how far the clock jumps, such as 2h or -730d");
    }
    read
}

/// `cut edge-1`, for people.
fn label(verb: &str, subject: &At<Tree>) -> String {
    let items = subject
        .value
        .as_list()
        .unwrap_or_else(|| std::slice::from_ref(subject));
    let mut shown: Vec<String> = items.iter().take(3).map(short).collect();
    if items.len() > shown.len() {
        shown.push(format!("and {} more", items.len() - shown.len()));
    }
    format!("{verb} {}", shown.join(", "))
}

/// What the subject of a step does not say of it.
fn detail(action: &Action) -> String {
    if let Action::EdgeWrite { nodes, .. } | Action::Report(Report { nodes, .. }) = action {
        let shown = nodes.iter().take(3).map(NodeName::as_str);
        let shown: Vec<&str> = shown.collect();
        let dots = if nodes.len() > shown.len() {
            ", …"
        } else {
            ""
        };
        return format!(" at {}{dots}", shown.join(", "));
    }
    let Action::Disk { fault, .. } = action else {
        return String::new();
    };
    let fault = match fault {
        DiskFault::Full => "full",
        DiskFault::WriteFails => "writes fail",
        DiskFault::SyncFails => "syncs fail",
        DiskFault::ReadFails => "reads fail",
        DiskFault::None => "works again",
    };
    format!(": {fault}")
}

fn short(tree: &At<Tree>) -> String {
    if let Some(text) = tree.value.as_text() {
        return text.to_owned();
    }
    let object = tree.value.json();
    let kind = object["kind"].as_str();
    let kind = kind.or_else(|| object["resource"].as_str());
    if let (Some(kind), Some(name)) = (kind, object["name"].as_str()) {
        return format!("{kind} {name}");
    }
    let about = Manifest {
        source: String::new(),
        resource: None,
        object,
    };
    let about = about.about();
    if about.trim().is_empty() {
        tree.value.kind().to_owned()
    } else {
        about
    }
}
