//! What is wrong with a scenario file: everything at once, each with its line.

use std::fmt;

use super::tree::Place;

/// Mistakes shown; a file with more has one cause.
const MISTAKES_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong, and what was expected there.
    pub what: String,
}

/// A file that is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    file: String,
    lines: Vec<String>,
    mistakes: Vec<Mistake>,
}

impl Mistakes {
    /// Mistakes of the file whose text this is.
    #[must_use]
    pub fn new(file: &str, text: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes.dedup();
        mistakes.truncate(MISTAKES_MAX);
        let line = |mistake: &Mistake| {
            let number = usize::try_from(mistake.place.line).ok()?.checked_sub(1)?;
            text.lines().nth(number).map(ToOwned::to_owned)
        };
        Self {
            file: file.to_owned(),
            lines: mistakes
                .iter()
                .map(|mistake| line(mistake).unwrap_or_default())
                .collect(),
            mistakes,
        }
    }

    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The mistakes, in the order of the file.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (mistake, line)) in self.mistakes.iter().zip(&self.lines).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}: {}", self.file, mistake.place, mistake.what)?;
            if !line.trim().is_empty() {
                let margin = mistake.place.line.to_string();
                let column = usize::try_from(mistake.place.column).unwrap_or(1);
                let shown: String = line.chars().take(160).collect();
                write!(f, "\n  {margin} | {shown}")?;
                if column <= shown.chars().count() {
                    let indent = column.saturating_sub(1);
                    write!(f, "\n  {:len$} | {:indent$}^", "", "", len = margin.len())?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
