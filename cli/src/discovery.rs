//! Which kinds a server serves, and how their names are written.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::exit::Coded;
use crate::up::Plane;

/// One served kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// API group; empty for the core group.
    pub(crate) group: String,
    /// API version without the group.
    pub(crate) version: String,
    /// Plural name, as in paths.
    pub(crate) plural: String,
    /// As in manifests.
    pub(crate) kind: String,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// Other names people use: singular, short names.
    aliases: Vec<String>,
}

/// All kinds of a server.
#[derive(Clone, Debug)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kind {
    /// The path of an object, or with no name of the collection.
    pub(crate) fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let mut path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if self.namespaced && !namespace.is_empty() {
            path = format!("{path}/namespaces/{namespace}");
        }
        path = format!("{path}/{}", self.plural);
        match name {
            Some(name) => format!("{path}/{name}"),
            None => path,
        }
    }

    /// As the inspection API names it: `plural.group`, the dot even without a group.
    pub(crate) fn resource(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    fn is_called(&self, word: &str) -> bool {
        let (name, group) = word.split_once('.').unwrap_or((word, ""));
        let named = self.plural == name
            || self.kind.to_lowercase() == name
            || self.aliases.iter().any(|alias| alias == name);
        named && (group.is_empty() || self.group == group)
    }
}

impl Kinds {
    /// Asks a server.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn of(server: &Plane) -> Result<Self> {
        let mut kinds = Vec::new();
        collect(
            &mut kinds,
            "",
            "v1",
            &server.get("/api/v1").await.context("cannot list kinds")?,
        );
        let groups = server
            .get("/apis")
            .await
            .context("cannot list API groups")?;
        for group in groups["groups"].as_array().into_iter().flatten() {
            let name = text(&group["name"]);
            for version in group["versions"].as_array().into_iter().flatten() {
                let version = text(&version["version"]);
                let list = server.get(&format!("/apis/{name}/{version}")).await?;
                collect(&mut kinds, &name, &version, &list);
            }
        }
        Ok(Self(kinds))
    }

    /// The kind a person means: `pods`, `po`, `Pod`, `deployments.apps`.
    pub(crate) fn named(&self, word: &str) -> Result<&Kind> {
        let lower = word.to_lowercase();
        self.0
            .iter()
            .find(|kind| kind.is_called(&lower))
            .ok_or_else(|| {
                let mut names: Vec<_> = self.0.iter().map(|kind| kind.plural.as_str()).collect();
                names.dedup();
                let hint = format!("served: {}", names.join(", "));
                Coded::usage(format!("the server has no kind {word:?}"))
                    .hint(hint)
                    .into()
            })
    }

    /// The kind of a manifest.
    pub(crate) fn of_object(&self, object: &Value) -> Option<&Kind> {
        let api_version = object["apiVersion"].as_str()?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let named = object["kind"].as_str()?;
        let mut kinds = self.0.iter();
        kinds.find(|kind| kind.kind == named && kind.group == group && kind.version == version)
    }
}

fn collect(into: &mut Vec<Kind>, group: &str, version: &str, list: &Value) {
    for entry in list["resources"].as_array().into_iter().flatten() {
        let plural = text(&entry["name"]);
        if plural.contains('/') {
            continue;
        }
        let mut aliases = vec![text(&entry["singularName"])];
        aliases.extend(
            entry["shortNames"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text),
        );
        aliases.retain(|alias| !alias.is_empty());
        into.push(Kind {
            group: group.to_owned(),
            version: version.to_owned(),
            plural,
            kind: text(&entry["kind"]),
            namespaced: entry["namespaced"].as_bool().unwrap_or(false),
            aliases,
        });
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
