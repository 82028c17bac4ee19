//! What a path names.

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Discovery, version, OpenAPI, health: the segments of the path.
    Document(Vec<String>),
    /// Objects of a kind.
    Resource(Object),
    /// Nothing.
    Unknown,
}

/// An object, or a collection when it has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: Option<String>,
    pub(super) plural: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

/// Longest path that is looked at, in segments: proxies of pods are not served.
const SEGMENTS_MAX: usize = 16;

impl Target {
    pub(super) fn parse(path: &str) -> Self {
        let segments: Option<Vec<String>> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .take(SEGMENTS_MAX)
            .map(decode_percent)
            .collect();
        let Some(segments) = segments else {
            return Self::Unknown;
        };
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            [
                "api" | "apis" | "version" | "openapi" | "healthz" | "livez" | "readyz",
                ..,
            ] => return Self::Document(segments),
            [] => return Self::Document(segments),
            _ => return Self::Unknown,
        };
        let object = Object {
            group: group.to_owned(),
            version: version.to_owned(),
            ..Object::default()
        };
        object
            .place(group, rest)
            .map_or(Self::Unknown, Self::Resource)
    }
}

impl Object {
    /// Reads what stands behind group and version.
    fn place(self, group: &str, rest: &[&str]) -> Option<Self> {
        // A namespace is an object itself: `namespaces/a`, `namespaces/a/status`; any other third
        // segment is a collection inside.
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] if group.is_empty() => (None, rest),
            ["namespaces", namespace, inside @ ..] if !inside.is_empty() => {
                (Some(*namespace), inside)
            }
            _ => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some((*subresource).to_owned())),
            [plural, name, "proxy", ..] => (*plural, Some(*name), Some("proxy".to_owned())),
            _ => return None,
        };
        Some(Self {
            namespace: namespace.map(str::to_owned),
            plural: plural.to_owned(),
            name: name.map(str::to_owned),
            subresource,
            ..self
        })
    }
}

/// Undoes percent-encoding; `None` when it is broken or not UTF-8.
pub(super) fn decode_percent(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: u8| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|it| u8::try_from(it).ok())
            };
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            decoded.push(high * 16 + low);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}
