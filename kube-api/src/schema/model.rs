//! The parsed form of `builtin.txt`, made on first use.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::scalar::Scalar;

const TEXT: &str = include_str!("builtin.txt");

/// All built-in types. Names are slices of the included text, so that it costs little memory.
pub(crate) struct Model {
    structs: Vec<Struct>,
    /// (`apps/v1`, `Deployment`) to the index of its struct.
    kinds: BTreeMap<(&'static str, &'static str), usize>,
}

/// A type with named fields.
pub(crate) struct Struct {
    pub(crate) name: &'static str,
    /// Sorted by name.
    pub(crate) fields: Vec<Field>,
}

/// A field of a [`Struct`].
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
    pub(crate) merge: Merge,
    pub(crate) retain_keys: bool,
}

/// What a value may be.
pub(crate) enum Shape {
    Scalar(Scalar),
    /// One of these strings.
    Enum(Vec<&'static str>),
    List(Box<Self>),
    Map(Box<Self>),
    /// Index of a struct of the model.
    Struct(usize),
}

/// How a strategic merge patch treats a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Replaces it.
    Atomic,
    /// Merges elements that have the same value of this key.
    Key(&'static str),
    /// Adds values that are missing.
    Set,
}

/// The model. Parsed once.
pub(crate) fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::parse(TEXT).expect("builtin.txt is part of this program"))
}

impl Model {
    /// The struct of a kind; `None` when it has no built-in schema.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<&Struct> {
        self.kinds
            .get(&(api_version, kind))
            .map(|index| self.get(*index))
    }

    pub(crate) fn get(&self, index: usize) -> &Struct {
        self.structs.get(index).expect("indexes come from parsing")
    }

    /// All kinds as (apiVersion, kind, struct).
    #[cfg(test)]
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str, &Struct)> {
        self.kinds
            .iter()
            .map(|((version, kind), index)| (*version, *kind, self.get(*index)))
    }

    fn parse(text: &'static str) -> Result<Self, String> {
        let definitions = definitions(text);
        let mut indexes = BTreeMap::new();
        let mut kinds = BTreeMap::new();
        for (index, (head, _)) in definitions.iter().enumerate() {
            match head
                .strip_prefix("kind ")
                .and_then(|head| head.split_once(' '))
            {
                Some(kind) => kinds.insert(kind, index).is_some(),
                None => indexes.insert(*head, index).is_some(),
            }
            .then_some(())
            .map_or(Ok(()), |()| Err(format!("{head} is defined twice")))?;
        }
        let mut structs = Vec::with_capacity(definitions.len());
        for (head, bodies) in &definitions {
            let mut fields = Vec::new();
            for field in bodies
                .iter()
                .flat_map(|line| line.split(';'))
                .map(str::trim)
            {
                if !field.is_empty() {
                    fields.push(
                        parse_field(field, &indexes).map_err(|why| format!("{head}: {why}"))?,
                    );
                }
            }
            let name = match head.strip_prefix("kind ") {
                Some(kind) => {
                    for implied in ["apiVersion str", "kind str", "metadata ObjectMeta"] {
                        fields.push(parse_field(implied, &indexes)?);
                    }
                    kind.split_once(' ').map_or(kind, |(_, name)| name)
                }
                None => head,
            };
            fields.sort_unstable_by_key(|field| field.name);
            structs.push(Struct { name, fields });
        }
        Ok(Self { structs, kinds })
    }
}

impl Struct {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let at = self
            .fields
            .binary_search_by_key(&name, |field| field.name)
            .ok()?;
        self.fields.get(at)
    }
}

impl Shape {
    /// The name of the Go type, as decode errors of Kubernetes tell it.
    pub(crate) fn go_type(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.go_type().to_owned(),
            Self::Enum(_) => "string".to_owned(),
            Self::List(element) => format!("[]{}", element.go_type()),
            Self::Map(value) => format!("map[string]{}", value.go_type()),
            Self::Struct(index) => format!("v1.{}", model().get(*index).name),
        }
    }
}

/// Heads (`kind v1 Pod` or `PodSpec`) with the lines of their fields.
fn definitions(text: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut definitions: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with(' ') {
            if let Some((_, lines)) = definitions.last_mut() {
                lines.push(line);
            }
        } else {
            let (head, fields) = line.split_once(':').unwrap_or((line, ""));
            definitions.push((head, vec![fields]));
        }
    }
    definitions
}

fn parse_field(
    text: &'static str,
    indexes: &BTreeMap<&'static str, usize>,
) -> Result<Field, String> {
    let (name, shape) = text
        .split_once(' ')
        .ok_or_else(|| format!("{text} has no type"))?;
    let (name, required) = match name.strip_suffix('!') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (shape, retain_keys) = match shape.strip_suffix('~') {
        Some(shape) => (shape, true),
        None => (shape, false),
    };
    let (shape, merge) = match shape.split_once("]@") {
        Some((_, "")) => (&shape[..shape.len() - 1], Merge::Set),
        Some((element, key)) => (&shape[..=element.len()], Merge::Key(key)),
        None => (shape, Merge::Atomic),
    };
    let shape = parse_shape(shape, indexes)?;
    Ok(Field {
        name,
        required,
        shape,
        merge,
        retain_keys,
    })
}

fn parse_shape(
    text: &'static str,
    indexes: &BTreeMap<&'static str, usize>,
) -> Result<Shape, String> {
    let inside = |open, close| {
        text.strip_prefix(open)
            .and_then(|text| text.strip_suffix(close))
    };
    if let Some(element) = inside('[', ']') {
        return Ok(Shape::List(Box::new(parse_shape(element, indexes)?)));
    }
    if let Some(value) = inside('{', '}') {
        return Ok(Shape::Map(Box::new(parse_shape(value, indexes)?)));
    }
    if let Some(values) = inside('<', '>') {
        let values = values
            .split(' ')
            .map(|value| if value == "|" { "" } else { value });
        return Ok(Shape::Enum(values.collect()));
    }
    if let Some(scalar) = Scalar::parse(text) {
        return Ok(Shape::Scalar(scalar));
    }
    indexes
        .get(text)
        .map(|index| Shape::Struct(*index))
        .ok_or_else(|| format!("no type {text}"))
}
