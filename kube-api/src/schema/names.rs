//! Formats of names, in Kubernetes' words. Each check returns what is wrong.

/// A name rule: `Err` says what a value must be.
pub(crate) type Rule = fn(&str) -> Result<(), String>;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const ENV_NAME: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn at_most(text: &str, limit: usize) -> Result<(), String> {
    match text.len() <= limit {
        true => Ok(()),
        false => Err(format!("must be no more than {limit} characters")),
    }
}

fn if_not(holds: bool, message: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(message.to_owned())
    }
}

fn ends_with_alphanumeric(text: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    alphanumeric(text.as_bytes().first()) && alphanumeric(text.as_bytes().last())
}

fn is_label(text: &str) -> bool {
    ends_with_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// RFC 1123 label.
pub(crate) fn label(text: &str) -> Result<(), String> {
    at_most(text, 63)?;
    if_not(is_label(text), LABEL)
}

/// RFC 1123 subdomain: most object names.
pub(crate) fn subdomain(text: &str) -> Result<(), String> {
    at_most(text, 253)?;
    if_not(text.split('.').all(is_label), SUBDOMAIN)
}

/// RFC 1035 label: names of services.
pub(crate) fn label_1035(text: &str) -> Result<(), String> {
    at_most(text, 63)?;
    let starts = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if_not(starts && is_label(text), LABEL_1035)
}

/// A name that can stand in a path: RBAC objects.
pub(crate) fn path_segment(text: &str) -> Result<(), String> {
    if matches!(text, "." | "..") {
        return Err(format!("may not be '{text}'"));
    }
    match text.chars().find(|char| matches!(char, '/' | '%')) {
        Some(char) => Err(format!("may not contain '{char}'")),
        None => Ok(()),
    }
}

/// Kind of a CustomResourceDefinition.
pub(crate) fn kind_name(text: &str) -> Result<(), String> {
    label_1035(&text.to_ascii_lowercase())
        .map_err(|why| format!("may have mixed case, but should otherwise match: {why}"))
}

fn word(text: &str) -> bool {
    ends_with_alphanumeric(text)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A name with an optional DNS prefix: keys of labels and annotations.
pub(crate) fn qualified(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if name.contains('/') {
        return Err(format!(
            "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
    }
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Err("prefix part must be non-empty".to_owned());
        }
        subdomain(prefix).map_err(|why| format!("prefix part {why}"))?;
    }
    if name.is_empty() {
        return Err("name part must be non-empty".to_owned());
    }
    at_most(name, 63).map_err(|why| format!("name part {why}"))?;
    match word(name) {
        true => Ok(()),
        false => Err(format!("name part {QUALIFIED}")),
    }
}

/// Value of a label.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    at_most(text, 63)?;
    if_not(text.is_empty() || word(text), LABEL_VALUE)
}

/// Name of an environment variable.
pub(crate) fn env_name(text: &str) -> Result<(), String> {
    let starts = text
        .bytes()
        .next()
        .is_some_and(|byte| !byte.is_ascii_digit());
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if_not(starts && fits, ENV_NAME)?;
    match text {
        "." | ".." => Err(format!("must not be '{text}'")),
        _ => Ok(()),
    }
}

/// Key in a ConfigMap or Secret.
pub(crate) fn config_key(text: &str) -> Result<(), String> {
    at_most(text, 253)?;
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if_not(fits && !text.is_empty(), CONFIG_KEY)?;
    match text {
        "." | ".." => Err(format!("must not be '{text}'")),
        _ if text.starts_with("..") => Err("must not start with '..'".to_owned()),
        _ => Ok(()),
    }
}

/// Name of a port.
pub(crate) fn port_name(text: &str) -> Result<(), String> {
    at_most(text, 15)?;
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if_not(
        text.bytes().all(fits),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    )?;
    if_not(
        text.bytes().any(|byte| byte.is_ascii_lowercase()),
        "must contain at least one letter (a-z)",
    )?;
    if_not(!text.contains("--"), "must not contain consecutive hyphens")?;
    if_not(
        ends_with_alphanumeric(text),
        "must not begin or end with a hyphen",
    )
}

/// An IP address.
pub(crate) fn ip(text: &str) -> Result<(), String> {
    let parsed = text.parse::<std::net::IpAddr>();
    if_not(
        parsed.is_ok(),
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    )
}
