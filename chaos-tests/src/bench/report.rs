//! The table of results: figure, raw limit, ratio, target, met or not.

use std::io::{self, Write};
use std::time::Duration;

use super::samples::Span;

/// One line of the table.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What came out.
    pub figure: String,
    /// What the machine gives without us, in the same run.
    pub raw: String,
    /// Figure against raw.
    pub ratio: String,
    /// What was to be reached.
    pub target: String,
    /// Whether it was; `None` when there is no target.
    pub met: Option<bool>,
}

impl Row {
    /// A span that should be at most `target`, beside what the machine needs at least.
    pub fn span(what: &str, figure: Duration, raw: (&str, Duration), target: Duration) -> Self {
        let ratio = figure.as_secs_f64() / raw.1.as_secs_f64().max(1e-9);
        Self {
            what: what.to_owned(),
            figure: Span(figure).to_string(),
            raw: format!("{} {}", raw.0, Span(raw.1)),
            ratio: format!("{ratio:.1}×"),
            target: format!("≤ {}", Span(target)),
            met: Some(figure <= target),
        }
    }

    fn cells(&self) -> [&str; 6] {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        [&self.what, &self.figure, &self.raw, &self.ratio, &self.target, met]
    }
}

const HEADS: [&str; 6] = ["what", "measured", "raw limit", "ratio", "target", "met"];

/// All results, and where progress is told.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row and shows it at once on stderr.
    pub fn add(&mut self, row: Row) {
        self.note(&row.cells().join(" | "));
        self.rows.push(row);
    }

    /// Tells how far it is, on stderr.
    pub fn note(&self, text: &str) {
        // Progress that nobody can read is no reason to stop.
        writeln!(io::stderr(), "{text}").ok();
    }

    /// Whether every target was met.
    pub fn all_met(&self) -> bool {
        self.rows.iter().all(|row| row.met != Some(false))
    }

    /// Writes the table, as Markdown or in columns.
    ///
    /// # Errors
    /// When `to` does not take it.
    pub fn write(&self, to: &mut dyn Write, markdown: bool) -> io::Result<()> {
        let rows = || std::iter::once(HEADS).chain(self.rows.iter().map(Row::cells));
        if markdown {
            for (number, cells) in rows().enumerate() {
                writeln!(to, "| {} |", cells.join(" | "))?;
                if number == 0 {
                    writeln!(to, "|{}", "---|".repeat(cells.len()))?;
                }
            }
            return Ok(());
        }
        let width = |column: usize| rows().map(|cells| cells[column].chars().count()).max();
        for cells in rows() {
            let mut line = String::new();
            for (column, cell) in cells.iter().enumerate() {
                let width = width(column).unwrap_or_default();
                line += &format!("{cell:width$}  ");
            }
            writeln!(to, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
