//! YAML with places: every value and every key knows its line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// A place in the file; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// A value of the file.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<At<Self>>),
    Map(Vec<(At<String>, At<Self>)>),
}

/// How deep a file may nest; a scenario needs five levels, a manifest written in it fifteen.
const DEPTH_MAX: usize = 64;

/// Reads a file of one document.
pub(super) fn parse(text: &str) -> Result<At<Tree>, (Place, String)> {
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Result<Spanned<Tree>, _> = serde_saphyr::from_str_with_options(text, options);
    let tree = read.map(At::from).map_err(|error| {
        let place = error.location().map(place).unwrap_or_default();
        (place, error.render_without_place())
    })?;
    if tree.value.depth() > DEPTH_MAX {
        return Err((tree.place, format!("nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(tree)
}

/// What the parser says, without the place, which mistakes show in their own way.
trait WithoutPlace {
    fn render_without_place(&self) -> String;
}

impl WithoutPlace for serde_saphyr::Error {
    fn render_without_place(&self) -> String {
        let text = self.to_string();
        let first = text.lines().next().unwrap_or_default();
        let end = first.find(" at line ").unwrap_or(first.len());
        first[..end].to_owned()
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    Place {
        line: location.line(),
        column: location.column(),
    }
}

impl<T> From<Spanned<T>> for At<T> {
    fn from(spanned: Spanned<T>) -> Self {
        Self {
            place: place(spanned.referenced),
            value: spanned.value,
        }
    }
}

impl Tree {
    /// What it is, for people.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(super) const fn as_number(&self) -> Option<&serde_json::Number> {
        if let Self::Number(number) = self {
            Some(number)
        } else {
            None
        }
    }

    pub(super) fn as_list(&self) -> Option<&[At<Self>]> {
        if let Self::List(items) = self {
            Some(items)
        } else {
            None
        }
    }

    pub(super) fn as_map(&self) -> Option<&[(At<String>, At<Self>)]> {
        if let Self::Map(fields) = self {
            Some(fields)
        } else {
            None
        }
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.clone()),
            Self::Text(value) => Value::String(value.clone()),
            Self::List(items) => items.iter().map(|item| item.value.json()).collect(),
            Self::Map(fields) => fields
                .iter()
                .map(|(key, value)| (key.value.clone(), value.value.json()))
                .collect(),
        }
    }

    fn depth(&self) -> usize {
        let below = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => return 1,
            Self::List(items) => items.iter().map(|item| item.value.depth()).max(),
            Self::Map(fields) => fields.iter().map(|(_, value)| value.value.depth()).max(),
        };
        below.unwrap_or(0).saturating_add(1)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = serde_json::Number::from_f64(value)
            .ok_or_else(|| E::custom("the number is not finite"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(item.into());
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<Tree>>()? {
            let key: At<Tree> = key.into();
            let name = match key.value {
                Tree::Text(name) => name,
                Tree::Bool(value) => value.to_string(),
                Tree::Number(value) => value.to_string(),
                other @ (Tree::Null | Tree::List(_) | Tree::Map(_)) => {
                    let kind = other.kind();
                    return Err(A::Error::custom(format!("{kind} cannot be a key")));
                }
            };
            let value = fields.next_value::<Spanned<Tree>>()?;
            let key = At {
                place: key.place,
                value: name,
            };
            map.push((key, value.into()));
        }
        Ok(Tree::Map(map))
    }
}
