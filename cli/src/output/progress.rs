//! Live progress of waiting commands: a line that changes on a terminal, nothing elsewhere.
//!
//! Reasons (why nothing runs yet) are no progress: they are said once each, on stderr, everywhere.

use std::collections::BTreeSet;

use indicatif::{ProgressBar, ProgressStyle};

use super::{is_watched, note};

/// The changing line. Dropping it removes the line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    said: BTreeSet<String>,
    quiet: bool,
}

impl Progress {
    /// Shows nothing yet. `quiet` shows nothing ever.
    pub(crate) fn new(quiet: bool) -> Self {
        let bar = (!quiet && is_watched()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, said: BTreeSet::new(), quiet }
    }

    /// Changes the line.
    pub(crate) fn show(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// Says something once: a text that was said before is not said again.
    pub(crate) fn say(&mut self, text: &str) {
        if self.quiet || !self.said.insert(text.to_owned()) {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Replaces the line by a last one, for people only.
    pub(crate) fn finish(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            note(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
