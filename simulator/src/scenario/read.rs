//! From a tree to a scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::NodeName;

use super::expectations;
use super::fields::Notes;
use super::manifests::{self, Files};
use super::mistake::{Mistake, Mistakes};
use super::model::{Part, Scenario, When};
use super::steps;
use super::tree::{self, At, Tree};

/// The largest scenario file.
const FILE_BYTES_MAX: usize = 4 << 20;
/// The most nodes of a scenario.
const NODES_MAX: u64 = 5_000;
/// How long a run goes on after the last thing that is mentioned.
const TAIL: Duration = Duration::from_secs(10);

const TOP: &str = "one of name, about, seed, nodes, manifests, timeline, expect";

impl Scenario {
    /// Reads a scenario. `file` is its name, for people.
    ///
    /// # Errors
    /// Every [`Mistake`] of the file at once, each with its line and what was expected there.
    pub fn parse(file: &str, text: &str, files: &dyn Files) -> Result<Self, Mistakes> {
        Self::parse_first(file, text, files, usize::MAX)
    }

    /// The same with the first `nodes_max` of its nodes alone; naming another one is a mistake.
    ///
    /// # Errors
    /// As above.
    pub fn parse_first(
        file: &str,
        text: &str,
        files: &dyn Files,
        nodes_max: usize,
    ) -> Result<Self, Mistakes> {
        let mut notes = Notes::default();
        let scenario = if text.len() > FILE_BYTES_MAX {
            let what = "expected a scenario of at most 4 MiB".to_owned();
            notes.at(tree::Place { line: 1, column: 1 }, what);
            None
        } else {
            match tree::parse(text) {
                Ok(tree) => read(file, &tree, files, nodes_max, &mut notes),
                Err((place, what)) => {
                    notes.0.push(Mistake { place, what });
                    None
                }
            }
        };
        match scenario {
            Some(scenario) if notes.0.is_empty() => Ok(scenario),
            _ => Err(Mistakes::new(file, text, notes.0)),
        }
    }
}

fn read(
    file: &str,
    tree: &At<Tree>,
    files: &dyn Files,
    nodes_max: usize,
    notes: &mut Notes,
) -> Option<Scenario> {
    let mut fields = notes.fields(
        tree,
        "a scenario: a mapping with nodes, manifests, timeline, expect",
    )?;
    let name = fields
        .take("name")
        .and_then(|tree| notes.text(tree, "a name"));
    fields.take("about").map(|tree| notes.text(tree, "a text"));
    let seed = fields
        .take("seed")
        .and_then(|tree| notes.number(tree, 0, u64::MAX));
    let nodes = fields.need("nodes", "a number of nodes, or a list of names", notes);
    let nodes_place = nodes.map(|tree| tree.place).unwrap_or_default();
    let mut nodes = nodes
        .map(|tree| read_nodes(tree, notes))
        .unwrap_or_default();
    nodes.truncate(nodes_max);
    let names = Names::new(&nodes);
    let manifests = fields.take("manifests").map_or_else(Vec::new, |tree| {
        let mut manifests = Vec::new();
        for item in notes.list(tree, "a list of manifests") {
            manifests.extend(manifests::entry(item, None, &nodes, files, notes));
        }
        manifests
    });
    let steps = fields.take("timeline").map_or_else(Vec::new, |tree| {
        steps::read(tree, &names, &nodes, files, notes)
    });
    let expectations = fields
        .need("expect", "what must be so", notes)
        .map(|tree| expectations::read(tree, &names, notes))
        .unwrap_or_default();
    fields.finish(TOP, notes);
    let mentioned = steps.iter().map(|step| step.at).chain(
        expectations
            .iter()
            .map(|expectation| expectation.when.last()),
    );
    let end = mentioned.max().unwrap_or_default().saturating_add(TAIL);
    let stem = || {
        let path = std::path::Path::new(file);
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    Some(Scenario {
        name: name.unwrap_or_else(stem),
        seed: seed.unwrap_or(1),
        nodes,
        nodes_place,
        manifests,
        steps,
        expectations,
        end,
    })
}

fn read_nodes(tree: &At<Tree>, notes: &mut Notes) -> Vec<NodeName> {
    let texts: Vec<(tree::Place, String)> = match &tree.value {
        Tree::Number(_) => {
            let count = notes.number(tree, 1, NODES_MAX).unwrap_or(0);
            (1..=count)
                .map(|number| (tree.place, format!("edge-{number}")))
                .collect()
        }
        Tree::List(items) => items
            .iter()
            .filter_map(|item| Some((item.place, notes.text(item, "the name of a node")?)))
            .collect(),
        Tree::Null | Tree::Bool(_) | Tree::Text(_) | Tree::Map(_) => {
            notes.expected(tree, "a number of nodes, or a list of names");
            return Vec::new();
        }
    };
    if texts.is_empty() {
        notes.at(tree.place, "expected at least one node");
    }
    let mut nodes: Vec<NodeName> = Vec::new();
    let mut known = BTreeSet::new();
    for (place, text) in texts {
        match NodeName::new(&text) {
            Ok(node) if text == "cloud" || text == "all" => {
                notes.at(
                    place,
                    format!("expected the name of a node; `{node}` has a meaning"),
                );
            }
            Ok(node) if !known.insert(node.clone()) => {
                notes.at(
                    place,
                    format!("expected names that differ; `{node}` is there twice"),
                );
            }
            Ok(node) => nodes.push(node),
            Err(error) => notes.at(place, format!("expected the name of a node: {error}")),
        }
    }
    nodes
}

/// The names that a scenario may use.
#[derive(Debug)]
pub(super) struct Names<'a> {
    nodes: &'a [NodeName],
    known: BTreeMap<&'a str, &'a NodeName>,
}

impl<'a> Names<'a> {
    fn new(nodes: &'a [NodeName]) -> Self {
        let known = nodes.iter().map(|node| (node.as_str(), node)).collect();
        Self { nodes, known }
    }

    /// One node, several, or `all`.
    pub(super) fn nodes(&self, tree: &At<Tree>, notes: &mut Notes) -> Vec<NodeName> {
        if tree.value.as_text() == Some("all") {
            return self.nodes.to_vec();
        }
        let items = tree.value.as_list();
        let items = items.unwrap_or_else(|| std::slice::from_ref(tree));
        items
            .iter()
            .filter_map(|item| self.node(item, notes))
            .collect()
    }

    /// Every node.
    pub(super) fn all(&self) -> Vec<NodeName> {
        self.nodes.to_vec()
    }

    fn node(&self, tree: &At<Tree>, notes: &mut Notes) -> Option<NodeName> {
        let expected = format!("a node: {}, or all", self.some());
        let text = notes.text(tree, &expected)?;
        let found = self.known.get(text.as_str());
        if found.is_none() {
            notes.expected(tree, &expected);
        }
        found.map(|node| (*node).clone())
    }

    /// Processes: `cloud`, a node, `edge-1/edge-sync`, `edge-1/edged`, several of them, or `all`
    /// for every node.
    pub(super) fn parts(&self, tree: &At<Tree>, notes: &mut Notes) -> Vec<Part> {
        if tree.value.as_text() == Some("all") {
            return self.nodes.iter().cloned().map(Part::Node).collect();
        }
        let items = tree.value.as_list();
        let items = items.unwrap_or_else(|| std::slice::from_ref(tree));
        items
            .iter()
            .filter_map(|item| self.part(item, notes))
            .collect()
    }

    fn part(&self, tree: &At<Tree>, notes: &mut Notes) -> Option<Part> {
        let expected = format!(
            "cloud, a node ({}), or a daemon of one such as {}/edged",
            self.some(),
            self.nodes.first().map_or("edge-1", NodeName::as_str),
        );
        let text = notes.text(tree, &expected)?;
        if text == "cloud" {
            return Some(Part::Cloud);
        }
        let (node, daemon) = text.split_once('/').unwrap_or((&text, ""));
        let part = self.known.get(node).and_then(|node| match daemon {
            "" => Some(Part::Node((*node).clone())),
            "edge-sync" => Some(Part::EdgeSync((*node).clone())),
            "edged" => Some(Part::Edged((*node).clone())),
            _ => None,
        });
        if part.is_none() {
            notes.expected(tree, &expected);
        }
        part
    }

    /// The first few names, for people.
    fn some(&self) -> String {
        let mut shown: Vec<&str> = self.nodes.iter().take(4).map(NodeName::as_str).collect();
        if self.nodes.len() > shown.len() {
            shown.push("…");
        }
        shown.join(", ")
    }
}

impl When {
    /// The last moment it speaks of.
    #[must_use]
    pub fn last(self) -> Duration {
        match self {
            Self::At(at) => at,
            Self::Within { from, within } => from.saturating_add(within),
            Self::Throughout { from, until } => until.unwrap_or(from),
        }
    }

    /// The first moment it speaks of.
    #[must_use]
    pub const fn first(self) -> Duration {
        match self {
            Self::At(at) => at,
            Self::Within { from, .. } | Self::Throughout { from, .. } => from,
        }
    }
}
