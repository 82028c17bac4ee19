//! What is to be run: the world of a seed, a recorded schedule, or a scenario.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use causeway_simulator::workload::Schedule;
use causeway_simulator::world::Options;
use serde::{Deserialize, Serialize};

use crate::exit::Coded;

/// What the command line names.
#[derive(Debug)]
pub(super) enum Subject {
    /// What a seed draws, or a file that `sim shrink` wrote.
    World(Box<Recorded>),
    /// A scenario file.
    Scenario(PathBuf),
}

/// A run that can be repeated: the same three give the same run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    /// Draws delays, losses and the like.
    pub(super) seed: u64,
    /// Size and temper of the world.
    pub(super) options: Options,
    /// What is done to it, and when.
    pub(super) schedule: Schedule,
}

impl Recorded {
    /// What a seed draws.
    pub(super) fn of_seed(seed: u64) -> Self {
        let options = Options::draw(seed);
        let schedule = Schedule::draw(seed, &options);
        Self {
            seed,
            options,
            schedule,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the file cannot be read, or is something else.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).map_err(|error| {
            let what = format!("{} is no recorded schedule: {error}", file.display());
            Coded::config(what).into()
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Subject {
    /// Understands a word of the command line: a number is a seed, `*.json` a recorded schedule,
    /// anything else a scenario.
    pub(super) fn of(word: &str) -> Result<Self> {
        if let Ok(seed) = word.parse() {
            return Ok(Self::World(Box::new(Recorded::of_seed(seed))));
        }
        let path = PathBuf::from(word);
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            return Ok(Self::World(Box::new(Recorded::read(&path)?)));
        }
        Ok(Self::Scenario(path))
    }
}
