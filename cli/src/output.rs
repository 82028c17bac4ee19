//! Data goes to stdout, talk goes to stderr.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde_json::Value;

/// Writes a line of data.
///
/// # Errors
/// When stdout is closed; the caller stops, there is nobody left to tell.
pub(crate) fn data(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes a value as JSON, indented.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn json(value: &Value) -> io::Result<()> {
    data(format_args!("{value:#}"))
}

/// Says something to a person. A closed stderr is no reason to stop.
pub(crate) fn talk(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Rows under a header, columns as wide as their content, two spaces apart.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            rows: vec![columns.iter().map(ToString::to_string).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether it has no row besides the header.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// Writes it as data.
    ///
    /// # Errors
    /// When stdout is closed.
    pub(crate) fn print(&self) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            data(line.trim_end())?;
        }
        Ok(())
    }
}

/// The text at a JSON pointer, `-` when there is none.
pub(crate) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
