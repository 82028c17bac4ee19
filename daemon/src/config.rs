//! Configuration files: TOML, read value by value, every mistake reported at once with its path.
//!
//! A daemon reads its file through [`Section`]s. Each value is taken by key with the parser that
//! validates it; what goes wrong is noted and a stand-in is used, so that one run finds all
//! mistakes. Keys that nobody took are mistakes too.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Dotted path of the key, empty for the file as a whole.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.path, self.what)
        }
    }
}

/// Everything wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        self.0
            .iter()
            .try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// A configuration cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error(transparent)]
    Invalid(#[from] Mistakes),
}

/// Reads `text` with `read`, which takes every value it knows out of the root section.
///
/// # Errors
/// All mistakes found: syntax, unknown keys, wrong types, values out of range.
pub fn parse<C>(text: &str, read: impl FnOnce(&mut Section) -> C) -> Result<C, Mistakes> {
    let table = text.parse::<Table>().map_err(|error| {
        Mistakes(vec![Mistake {
            path: String::new(),
            what: error.to_string(),
        }])
    })?;
    let mistakes = Rc::new(RefCell::new(Vec::new()));
    let mut root = Section {
        path: String::new(),
        table,
        mistakes: Rc::clone(&mistakes),
    };
    let config = read(&mut root);
    drop(root);
    let mistakes = mistakes.take();
    if mistakes.is_empty() {
        Ok(config)
    } else {
        Err(Mistakes(mistakes))
    }
}

/// [`parse`] on a file.
///
/// # Errors
/// [`ConfigError`]
pub fn load<C>(
    path: &std::path::Path,
    read: impl FnOnce(&mut Section) -> C,
) -> Result<C, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(parse(&text, read)?)
}

/// A table of a file. Keys left in it when it is dropped are reported as unknown.
#[derive(Debug)]
pub struct Section {
    path: String,
    table: Table,
    mistakes: Rc<RefCell<Vec<Mistake>>>,
}

impl Section {
    /// Takes a sub-table; an absent one is empty.
    pub fn section(&mut self, key: &str) -> Self {
        let table = self.take(key, "a table", as_table).unwrap_or_default();
        Self {
            path: self.path_of(key),
            table,
            mistakes: Rc::clone(&self.mistakes),
        }
    }

    /// Takes a text and parses it; `None` when absent or wrong.
    pub fn text<T>(&mut self, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.text_with(key, |text| text.parse::<T>())
    }

    /// Takes a text and parses it by a function; `None` when absent or wrong.
    pub fn text_with<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.take(key, "a text", as_text)?;
        parse(&text)
            .map_err(|error| self.mistake(key, error.to_string()))
            .ok()
    }

    /// Takes a list of texts; empty when absent or wrong.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        self.take(key, "a list of texts", as_texts)
            .unwrap_or_default()
    }

    /// Takes a whole number within bounds; `None` when absent or wrong.
    pub fn number(&mut self, key: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let found = u64::try_from(self.take(key, "a whole number", as_number)?).ok();
        let number = found.filter(|number| bounds.contains(number));
        if number.is_none() {
            self.mistake(
                key,
                format!("must be {} to {}", bounds.start(), bounds.end()),
            );
        }
        number
    }

    /// Takes a truth value; `None` when absent or wrong.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.take(key, "true or false", as_flag)
    }

    /// Takes a duration such as `"250ms"`, `"30s"`, `"10m"`, `"24h"`, `"7d"`; `None` when absent
    /// or wrong.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        self.text_with(key, parse_duration)
    }

    /// A value that must be there: notes its absence. Use on what another method took.
    pub fn require<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        let path = self.path_of(key);
        let known = self
            .mistakes
            .borrow()
            .iter()
            .any(|mistake| mistake.path == path);
        if value.is_none() && !known {
            self.mistake(key, "must be given".to_owned());
        }
        value
    }

    /// Notes a mistake about a key.
    pub fn mistake(&mut self, key: &str, what: String) {
        let path = self.path_of(key);
        self.mistakes.borrow_mut().push(Mistake { path, what });
    }

    fn take<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl FnOnce(Value) -> Result<T, Value>,
    ) -> Option<T> {
        read(self.table.remove(key)?)
            .map_err(|found| self.mistake(key, format!("must be {what}, not {}", kind(&found))))
            .ok()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        let unknown: Vec<String> = self.table.keys().map(|key| self.path_of(key)).collect();
        let mut mistakes = self.mistakes.borrow_mut();
        mistakes.extend(unknown.into_iter().map(|path| Mistake {
            path,
            what: "is not a known key".to_owned(),
        }));
    }
}

fn as_table(value: Value) -> Result<Table, Value> {
    if let Value::Table(table) = value {
        Ok(table)
    } else {
        Err(value)
    }
}

fn as_text(value: Value) -> Result<String, Value> {
    if let Value::String(text) = value {
        Ok(text)
    } else {
        Err(value)
    }
}

/// In a list with something else in it, that is what is wrong.
fn as_texts(value: Value) -> Result<Vec<String>, Value> {
    let Value::Array(values) = value else {
        return Err(value);
    };
    values.into_iter().map(as_text).collect()
}

fn as_number(value: Value) -> Result<i64, Value> {
    if let Value::Integer(number) = value {
        Ok(number)
    } else {
        Err(value)
    }
}

fn as_flag(value: Value) -> Result<bool, Value> {
    if let Value::Boolean(flag) = value {
        Ok(flag)
    } else {
        Err(value)
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a fraction",
        Value::Boolean(_) => "a truth value",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number with a unit: ms, s, m, h or d")]
pub struct InvalidDuration;

/// Reads `"250ms"`, `"30s"`, `"10m"`, `"24h"`, `"7d"`.
///
/// # Errors
/// [`InvalidDuration`] for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => None,
    }
    .ok_or(InvalidDuration)
}

/// Writes a duration as [`parse_duration`] reads it.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let (millis, seconds) = (duration.as_millis(), duration.as_secs());
    match (millis % 1000, seconds % 60) {
        (0, 0) if seconds > 0 => format!("{}m", seconds / 60),
        (0, _) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests;
