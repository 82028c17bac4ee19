//! Where in an object a walk stands.

use std::fmt::Write as _;

/// A path from the root of an object; cheap to extend and to leave.
#[derive(Default)]
pub(crate) struct Path(Vec<Segment>);

enum Segment {
    Field(String),
    Key(String),
    Index(usize),
}

impl Path {
    /// A path such as `spec.template`; empty for the root.
    pub(crate) fn of(text: &str) -> Self {
        let fields = text.split('.').filter(|field| !field.is_empty());
        Self(
            fields
                .map(|field| Segment::Field(field.to_owned()))
                .collect(),
        )
    }

    /// Runs `inside` with a field added.
    pub(crate) fn push_field(&mut self, name: &str) {
        self.0.push(Segment::Field(name.to_owned()));
    }

    pub(crate) fn push_key(&mut self, key: &str) {
        self.0.push(Segment::Key(key.to_owned()));
    }

    pub(crate) fn push_index(&mut self, index: usize) {
        self.0.push(Segment::Index(index));
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }

    /// `spec.containers[0].resources.limits[cpu]`, as in causes of an invalid object.
    pub(crate) fn cause(&self) -> String {
        self.text(|text, segment| match segment {
            Segment::Field(name) => dotted(text, name),
            Segment::Key(key) => write!(text, "[{key}]"),
            Segment::Index(index) => write!(text, "[{index}]"),
        })
    }

    /// `spec.containers[0].resources.limits.cpu`, as in errors of strict decoding.
    pub(crate) fn strict(&self) -> String {
        self.text(|text, segment| match segment {
            Segment::Field(name) | Segment::Key(name) => dotted(text, name),
            Segment::Index(index) => write!(text, "[{index}]"),
        })
    }

    /// `spec.containers.resources.limits`, as in errors of Go's decoder: fields of structs only.
    pub(crate) fn go(&self) -> String {
        self.text(|text, segment| match segment {
            Segment::Field(name) => dotted(text, name),
            Segment::Key(_) | Segment::Index(_) => Ok(()),
        })
    }

    fn text(&self, add: impl Fn(&mut String, &Segment) -> std::fmt::Result) -> String {
        let mut text = String::new();
        for segment in &self.0 {
            add(&mut text, segment).expect("writing to a String cannot fail");
        }
        text
    }
}

fn dotted(text: &mut String, name: &str) -> std::fmt::Result {
    if !text.is_empty() {
        text.push('.');
    }
    text.write_str(name)
}
