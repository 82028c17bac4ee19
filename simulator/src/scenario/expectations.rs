//! `expect:`: what must be so, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use super::devices;
use super::fields::{Fields, Notes};
use super::model::{Claim, Expectation, PodClaim, When};
use super::read::Names;
use super::span;
use super::targets::split_name;
use super::tree::{At, Tree};

const KNOWN: &str = "one of at, within, node, runs, others, serves, connected, twins, converged, \
                     never, from, until";
const CLAIMS: &str = "one of runs, serves, connected, twins, converged, never";

/// What must never happen.
#[derive(Clone, Copy)]
enum Never {
    TwoCopies,
    Restart,
    Silence,
}

/// Reads the expectations; one entry may hold several.
pub(super) fn read(tree: &At<Tree>, names: &Names<'_>, notes: &mut Notes) -> Vec<Expectation> {
    let mut expectations = Vec::new();
    for item in notes.list(tree, "a list of expectations") {
        if let Some(fields) = notes.fields(item, "a mapping: a time and what must be so") {
            entry(fields, names, &mut expectations, notes);
        }
    }
    if expectations.is_empty() && notes.0.is_empty() {
        notes.at(tree.place, "expected at least one expectation, found none");
    }
    expectations
}

fn entry(
    mut fields: Fields<'_>,
    names: &Names<'_>,
    expectations: &mut Vec<Expectation>,
    notes: &mut Notes,
) {
    let place = fields.place;
    let node = fields.take("node");
    let nodes = node.map_or_else(|| names.all(), |tree| names.nodes(tree, notes));
    let node = node.map_or_else(|| "all".to_owned(), label);
    for (when, what) in claims(fields, notes) {
        expectations.push(Expectation {
            place,
            label: format!("{node}: {}", what.label()),
            when,
            nodes: nodes.clone(),
            what,
        });
    }
}

/// What one entry claims, and for when.
fn claims(mut fields: Fields<'_>, notes: &mut Notes) -> Vec<(When, Claim)> {
    let place = fields.place;
    let momentary = momentary(&mut fields, notes);
    let converged = fields.take("converged").and_then(|tree| notes.span(tree));
    let never = fields.take("never").and_then(|tree| {
        let words = [
            ("more-than-one-copy", Never::TwoCopies),
            ("restart", Never::Restart),
            ("silence", Never::Silence),
        ];
        notes.word(tree, &words)
    });
    let timed = fields.names().any(|name| name == "at");
    let mut span = |name| fields.take(name).and_then(|tree| notes.span(tree));
    let (at, within, from, until) = (span("at"), span("within"), span("from"), span("until"));
    let before = notes.0.len();
    fields.finish(KNOWN, notes);
    let needs_time = !momentary.is_empty() || converged.is_some();
    if !needs_time && never.is_none() && notes.0.len() == before {
        notes.at(place, format!("expected {CLAIMS} here, found none"));
    }
    if needs_time && !timed {
        let what = "expected `at:` (when, such as 10s or 2h) here, found none";
        notes.at(place, what);
    }
    if never.is_none() && (from.is_some() || until.is_some()) {
        let what = "expected `never:` beside `from:` and `until:`, found none";
        notes.at(place, what);
    }
    let at = at.unwrap_or_default();
    let when = within.map_or(When::At(at), |within| When::Within { from: at, within });
    let converged = converged.map(|within| (When::Within { from: at, within }, Claim::Converged));
    let throughout = When::Throughout {
        from: from.unwrap_or(Duration::ZERO),
        until,
    };
    let never = never.map(|never| {
        let claim = match never {
            Never::TwoCopies => Claim::OneCopy,
            Never::Restart => Claim::Undisturbed,
            Never::Silence => Claim::Serves(true),
        };
        (throughout, claim)
    });
    let momentary = momentary.into_iter().map(|claim| (when, claim));
    momentary.chain(converged).chain(never).collect()
}

/// What is claimed of a moment.
fn momentary(fields: &mut Fields<'_>, notes: &mut Notes) -> Vec<Claim> {
    let mut claims = Vec::new();
    let others = fields.take("others").and_then(|tree| notes.truth(tree));
    if let Some(tree) = fields.take("runs") {
        let pods: Vec<PodClaim> = notes
            .list(tree, "a list of pods; [] for none")
            .iter()
            .filter_map(|item| pod(item, notes))
            .collect();
        claims.push(if others == Some(true) {
            Claim::RunsAmongOthers(pods)
        } else {
            Claim::Runs(pods)
        });
    }
    if let Some(tree) = fields.take("twins") {
        claims.extend(devices::claims(tree, notes));
    }
    let mut truth = |name, claim: fn(bool) -> Claim| {
        let claimed = fields.take(name).and_then(|tree| notes.truth(tree));
        claims.extend(claimed.map(claim));
    };
    truth("serves", Claim::Serves);
    truth("connected", Claim::Connected);
    claims
}

fn pod(tree: &At<Tree>, notes: &mut Notes) -> Option<PodClaim> {
    let expected = "a pod such as hello/greeter, or a mapping with pod, image, env, files";
    if let Tree::Text(text) = &tree.value {
        let (namespace, name) = split_name(text);
        return Some(PodClaim {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..PodClaim::default()
        });
    }
    let mut fields = notes.fields(tree, expected)?;
    let pod = fields.need("pod", "such as hello/greeter", notes);
    let image = fields
        .take("image")
        .and_then(|tree| notes.text(tree, "an image"));
    let env = fields
        .take("env")
        .map(|tree| strings(tree, notes))
        .unwrap_or_default();
    let files = fields
        .take("files")
        .map(|tree| strings(tree, notes))
        .unwrap_or_default();
    fields.finish("one of pod, image, env, files", notes);
    let text = notes.text(pod?, "a pod such as hello/greeter")?;
    let (namespace, name) = split_name(&text);
    Some(PodClaim {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        image,
        env,
        files,
    })
}

fn strings(tree: &At<Tree>, notes: &mut Notes) -> BTreeMap<String, String> {
    let Tree::Map(fields) = &tree.value else {
        notes.expected(tree, "a mapping of names to texts");
        return BTreeMap::new();
    };
    fields
        .iter()
        .filter_map(|(key, value)| Some((key.value.clone(), notes.text(value, "a text")?)))
        .collect()
}

fn label(tree: &At<Tree>) -> String {
    match &tree.value {
        Tree::Text(text) => text.clone(),
        Tree::List(items) => items.iter().map(label).collect::<Vec<_>>().join(", "),
        other @ (Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Map(_)) => {
            other.kind().to_owned()
        }
    }
}

impl Claim {
    fn label(&self) -> String {
        let names = |pods: &[PodClaim]| {
            let names: Vec<String> = pods.iter().take(4).map(PodClaim::label).collect();
            let more = pods.len().saturating_sub(names.len());
            let dots = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            format!("{}{dots}", names.join(", "))
        };
        match self {
            Self::Runs(pods) if pods.is_empty() => "runs nothing".to_owned(),
            Self::Runs(pods) => format!("runs {}", names(pods)),
            Self::RunsAmongOthers(pods) => format!("runs at least {}", names(pods)),
            Self::Serves(true) => "serves its API".to_owned(),
            Self::Serves(false) => "does not serve its API".to_owned(),
            Self::Connected(true) => "is connected".to_owned(),
            Self::Connected(false) => "is not connected".to_owned(),
            Self::Converged => "converged".to_owned(),
            Self::OneCopy => "never runs a pod twice".to_owned(),
            Self::Undisturbed => "never stops or restarts a pod".to_owned(),
            Self::Twin(claim) => claim.label(),
        }
    }
}

impl PodClaim {
    fn label(&self) -> String {
        let image = self.image.as_ref().map(|image| format!(" ({image})"));
        format!(
            "{}/{}{}",
            self.namespace,
            self.name,
            image.unwrap_or_default()
        )
    }
}

impl When {
    /// For people.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::At(at) => format!("at {}", span::show(at)),
            Self::Within { from, within } => {
                format!("at {} within {}", span::show(from), span::show(within))
            }
            Self::Throughout { from, until: None } if from.is_zero() => "always".to_owned(),
            Self::Throughout { from, until: None } => format!("from {}", span::show(from)),
            Self::Throughout {
                from,
                until: Some(until),
            } => format!("{} to {}", span::show(from), span::show(until)),
        }
    }
}
