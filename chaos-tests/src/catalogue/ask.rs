//! What a person asks of a run: how many rounds, which seed, where its history goes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The scenario's name, which its files carry.
    pub name: String,
    /// What everything that is drawn is drawn from.
    pub seed: u64,
    /// Whether a few rounds are enough.
    pub short: bool,
    /// Rounds, when the scenario's own number is not wanted.
    pub rounds: Option<usize>,
    /// Where histories go.
    pub out: PathBuf,
}

impl Ask {
    /// As many rounds as asked for: else `full`, or `short` of a short run.
    pub fn rounds(&self, full: usize, short: usize) -> usize {
        self.rounds.unwrap_or(if self.short { short } else { full })
    }

    /// `full` seconds, or `short` of a short run; `--rounds` counts in tens of seconds.
    pub fn seconds(&self, full: u64, short: u64) -> Duration {
        let asked = self.rounds.map(|rounds| 10 * u64::try_from(rounds).unwrap_or(u64::MAX / 10));
        Duration::from_secs(asked.unwrap_or(if self.short { short } else { full }))
    }

    /// The file of a history.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn history(&self, part: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("create {}", self.out.display()))?;
        Ok(self.out.join(format!("{}-{}-{part}.jsonl", self.name, std::process::id())))
    }
}
