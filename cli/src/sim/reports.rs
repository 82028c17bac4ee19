//! What a run of a scenario leaves: text or JSON on stdout, and files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_simulator::report;
use causeway_simulator::scenario::Outcome;
use serde_json::Value;

use crate::exit::Code;
use crate::output::{data, json};

/// Nodes drawn in a terminal.
const NODES_SHOWN: usize = 8;

/// Which reports.
#[derive(Debug, clap::Args)]
pub(super) struct Reports {
    /// Write a picture of the run: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Draw at most so many nodes
    #[arg(long, value_name = "NUMBER", default_value_t = NODES_SHOWN)]
    show: usize,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            html: None,
            junit: None,
            json: false,
            show: NODES_SHOWN,
        }
    }
}

impl Reports {
    /// Prints and writes them; `more` is added to the JSON.
    ///
    /// # Errors
    /// When a file cannot be written, or stdout is closed.
    pub(super) fn give(
        &self,
        outcome: &Outcome,
        source: &Path,
        more: impl FnOnce(&mut Value),
    ) -> Result<Code> {
        if let Some(file) = &self.html {
            write(file, &report::html(outcome))?;
        }
        if let Some(file) = &self.junit {
            write(file, &report::junit(outcome, &source.display().to_string()))?;
        }
        if self.json {
            let mut value = report::json(outcome);
            more(&mut value);
            json(&value)?;
        } else {
            data(report::text(outcome, self.show).trim_end())?;
        }
        Ok(if outcome.passed() {
            Code::Done
        } else {
            Code::Failed
        })
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
