//! Environment of a container, by the rules of Kubernetes.

use serde_json::Value;

use super::{ConfigKind, Problem, Scope, list};

/// The reason containers wait with when their environment cannot be made.
const REASON: &str = "CreateContainerConfigError";

impl Scope<'_> {
    /// `envFrom` in order, then `env` in order; a later definition of a name replaces an earlier.
    pub(super) fn environment(&self, spec: &Value) -> Result<Vec<(String, String)>, Problem> {
        let mut env = Vec::new();
        for source in list(spec, "/envFrom") {
            self.all_of(source, &mut env)?;
        }
        for variable in list(spec, "/env") {
            let name = text(variable, "/name");
            let value = match variable.get("valueFrom") {
                Some(source) => self.value_from(source)?,
                None => Some(expand(&text(variable, "/value"), &env)),
            };
            if let Some(value) = value {
                set(&mut env, name, value);
            }
        }
        Ok(env)
    }

    fn all_of(&self, source: &Value, env: &mut Vec<(String, String)>) -> Result<(), Problem> {
        let prefix = text(source, "/prefix");
        let kinds = [
            ("configMapRef", ConfigKind::ConfigMap),
            ("secretRef", ConfigKind::Secret),
        ];
        for (field, kind) in kinds {
            let Some(reference) = source.get(field) else {
                continue;
            };
            let found = self.data(
                kind,
                &text(reference, "/name"),
                is_optional(reference),
                REASON,
            )?;
            for (key, value) in found.into_iter().flatten() {
                let name = format!("{prefix}{key}");
                // What cannot be a name, or text, is left out, as the kubelet does.
                if let (true, Ok(value)) = (is_name(&name), std::str::from_utf8(value)) {
                    set(env, name, value.to_owned());
                }
            }
        }
        Ok(())
    }

    fn value_from(&self, source: &Value) -> Result<Option<String>, Problem> {
        let kinds = [
            ("configMapKeyRef", ConfigKind::ConfigMap),
            ("secretKeyRef", ConfigKind::Secret),
        ];
        for (field, kind) in kinds {
            if let Some(reference) = source.get(field) {
                return self.key(kind, reference);
            }
        }
        if let Some(path) = source
            .pointer("/fieldRef/fieldPath")
            .and_then(Value::as_str)
        {
            return self.field(path).map(Some);
        }
        Err(problem(
            "valueFrom names a source that this node does not support".to_owned(),
        ))
    }

    fn key(&self, kind: ConfigKind, reference: &Value) -> Result<Option<String>, Problem> {
        let (name, key) = (text(reference, "/name"), text(reference, "/key"));
        let optional = is_optional(reference);
        let Some(data) = self.data(kind, &name, optional, REASON)? else {
            return Ok(None);
        };
        match data.get(&key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional => Ok(None),
            None => Err(problem(format!(
                "couldn't find key {key} in {kind:?} {}/{name}",
                self.namespace
            ))),
        }
    }
}

/// Replaces `$(NAME)` by the value of a defined variable; `$$` stands for `$`, and what is not
/// defined stays as it is.
pub(super) fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        if let Some(after) = from.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
            continue;
        }
        let reference = from
            .strip_prefix("$(")
            .and_then(|inside| inside.split_once(')'));
        let value = reference.and_then(|(name, after)| {
            let (_, value) = env.iter().rfind(|(known, _)| known == name)?;
            Some((value, after))
        });
        if let Some((value, after)) = value {
            expanded.push_str(value);
            rest = after;
        } else {
            expanded.push('$');
            rest = &from[1..];
        }
    }
    expanded.push_str(rest);
    expanded
}

fn set(env: &mut Vec<(String, String)>, name: String, value: String) {
    match env.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => env.push((name, value)),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn is_optional(reference: &Value) -> bool {
    reference
        .get("optional")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn problem(message: String) -> Problem {
    Problem {
        reason: REASON,
        message,
        quiet: false,
    }
}
