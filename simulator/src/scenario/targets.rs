//! Naming an object: `Pod hello/greeter`, or a mapping.

use causeway_kube_api::Catalog;

use super::fields::Notes;
use super::model::Target;
use super::tree::{At, Place, Tree};

/// `Pod hello/greeter`, or a mapping with kind or resource, namespace, name, grace.
pub(super) fn target(tree: &At<Tree>, notes: &mut Notes) -> Option<Target> {
    let expected =
        "an object such as `Pod hello/greeter`, or a mapping with kind, name, namespace, grace";
    if let Tree::Text(text) = &tree.value {
        let (kind, name) = text.split_once(' ').unwrap_or(("", ""));
        let (namespace, name) = split_name(name);
        if kind.is_empty() || name.is_empty() {
            notes.expected(tree, expected);
            return None;
        }
        let (resource, namespaced) = resource_of(kind, tree.place, notes)?;
        return Some(Target {
            resource,
            namespace: if namespaced { namespace } else { "" }.to_owned(),
            name: name.to_owned(),
            grace: None,
        });
    }
    let mut fields = notes.fields(tree, expected)?;
    let kind = fields.take("kind");
    let resource = fields.take("resource");
    let name = fields.need("name", "of the object", notes);
    let namespace = fields
        .take("namespace")
        .and_then(|tree| notes.text(tree, "a namespace"));
    let grace = fields.take("grace").and_then(|tree| notes.span(tree));
    let place = fields.place;
    fields.finish("one of kind, resource, name, namespace, grace", notes);
    let (resource, namespaced) = match (kind, resource) {
        (Some(kind), None) => {
            let kind_name = notes.text(kind, "a kind such as Pod")?;
            resource_of(&kind_name, kind.place, notes)?
        }
        // Of a custom kind; without a namespace it is the cluster's.
        (None, Some(resource)) => {
            let resource = notes.text(resource, "a resource such as widgets.example.com")?;
            (resource, namespace.is_some())
        }
        (None, None) | (Some(_), Some(_)) => {
            notes.at(
                place,
                "expected either `kind:` (such as Pod) or `resource:` here",
            );
            return None;
        }
    };
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    Some(Target {
        resource,
        namespace: if namespaced { namespace } else { String::new() },
        name: notes.text(name?, "a name")?,
        grace,
    })
}

/// The plural name of a built-in kind, and whether it has namespaces.
fn resource_of(kind: &str, place: Place, notes: &mut Notes) -> Option<(String, bool)> {
    let catalog = Catalog::builtin();
    let found = catalog.kinds().find(|known| *known.kind == *kind);
    if found.is_none() {
        let what = format!(
            "expected a built-in kind such as Pod, found `{kind}`; for others, use a mapping with \
             `resource:`"
        );
        notes.at(place, what);
    }
    found.map(|known| (known.resource.to_string(), known.namespaced))
}

/// Namespace and name of `hello/greeter`, or of `greeter` in the default namespace.
pub(super) fn split_name(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once('/').unwrap_or(("default", text))
}
