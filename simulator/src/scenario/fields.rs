//! Reading a tree with an expectation at every place.

use std::time::Duration;

use super::mistake::Mistake;
use super::span;
use super::tree::{At, Place, Tree};

/// Collects what is wrong while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Mistake>);

impl Notes {
    /// Notes a mistake.
    pub(super) fn at(&mut self, place: Place, what: impl Into<String>) {
        self.0.push(Mistake {
            place,
            what: what.into(),
        });
    }

    /// Notes that something else was expected.
    pub(super) fn expected(&mut self, found: &At<Tree>, expected: &str) {
        let found_kind = match &found.value {
            Tree::Text(text) if text.chars().count() <= 40 => format!("`{text}`"),
            Tree::Number(number) => format!("`{number}`"),
            Tree::Bool(value) => format!("`{value}`"),
            other @ (Tree::Null | Tree::Text(_) | Tree::List(_) | Tree::Map(_)) => {
                other.kind().to_owned()
            }
        };
        self.at(
            found.place,
            format!("expected {expected}, found {found_kind}"),
        );
    }

    /// The fields of a mapping.
    pub(super) fn fields<'t>(&mut self, tree: &'t At<Tree>, expected: &str) -> Option<Fields<'t>> {
        let Some(fields) = tree.value.as_map() else {
            self.expected(tree, expected);
            return None;
        };
        Some(Fields {
            place: tree.place,
            left: fields.iter().map(|(key, value)| (key, value)).collect(),
        })
    }

    /// The items of a list.
    pub(super) fn list<'t>(&mut self, tree: &'t At<Tree>, expected: &str) -> &'t [At<Tree>] {
        let items = tree.value.as_list();
        if items.is_none() {
            self.expected(tree, expected);
        }
        items.unwrap_or_default()
    }

    /// A text; numbers and truth values are taken as they are written.
    pub(super) fn text(&mut self, tree: &At<Tree>, expected: &str) -> Option<String> {
        match &tree.value {
            Tree::Text(text) => Some(text.clone()),
            Tree::Number(number) => Some(number.to_string()),
            Tree::Bool(value) => Some(value.to_string()),
            Tree::Null | Tree::List(_) | Tree::Map(_) => {
                self.expected(tree, expected);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, tree: &At<Tree>, words: &[(&str, T)]) -> Option<T> {
        let text = tree.value.as_text();
        let found = words.iter().find(|(word, _)| Some(*word) == text);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.expected(tree, &format!("one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A length of time.
    pub(super) fn span(&mut self, tree: &At<Tree>) -> Option<Duration> {
        let zero = tree.value.as_number().and_then(serde_json::Number::as_u64) == Some(0);
        let read = if zero {
            Some(Duration::ZERO)
        } else {
            tree.value.as_text().and_then(span::parse)
        };
        if read.is_none() {
            self.expected(tree, "a time such as 10s, 1h30m or 30d");
        }
        read
    }

    /// True or false.
    pub(super) fn truth(&mut self, tree: &At<Tree>) -> Option<bool> {
        if let Tree::Bool(value) = &tree.value {
            return Some(*value);
        }
        self.expected(tree, "true or false");
        None
    }

    /// A number within bounds.
    pub(super) fn number(&mut self, tree: &At<Tree>, min: u64, max: u64) -> Option<u64> {
        let read = tree.value.as_number().and_then(serde_json::Number::as_u64);
        let read = read.filter(|number| (min..=max).contains(number));
        if read.is_none() {
            self.expected(tree, &format!("a whole number from {min} to {max}"));
        }
        read
    }
}

/// The fields of a mapping that have not been read.
#[derive(Debug)]
pub(super) struct Fields<'t> {
    pub(super) place: Place,
    left: Vec<(&'t At<String>, &'t At<Tree>)>,
}

impl<'t> Fields<'t> {
    /// Takes the field of that name.
    pub(super) fn take(&mut self, name: &str) -> Option<&'t At<Tree>> {
        let index = self.left.iter().position(|(key, _)| key.value == name)?;
        Some(self.left.remove(index).1)
    }

    /// Takes a field that must be there.
    pub(super) fn need(
        &mut self,
        name: &str,
        what: &str,
        notes: &mut Notes,
    ) -> Option<&'t At<Tree>> {
        let found = self.take(name);
        if found.is_none() {
            notes.at(
                self.place,
                format!("expected `{name}:` ({what}) here, found none"),
            );
        }
        found
    }

    /// The names of the fields that are left.
    pub(super) fn names(&self) -> impl Iterator<Item = &'t str> + '_ {
        self.left.iter().map(|(key, _)| key.value.as_str())
    }

    /// Everything that is left is unknown.
    pub(super) fn finish(self, known: &str, notes: &mut Notes) {
        for (key, _) in self.left {
            notes.at(
                key.place,
                format!("unknown key `{}`; expected {known}", key.value),
            );
        }
    }
}
