//! The check that believes revisions: ordered by them, answers must be those of one copy of the
//! state, and that order must agree with real time. O(n log n) over all registers at once.
//!
//! Writes that nobody answered are resolved by the log where there is one, else by what reads saw.

mod real_time;
mod register;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};

use super::{F, History, Operation, Outcome};

/// A write as the agreed log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The register.
    pub key: String,
    /// What it holds from then on.
    pub value: Option<u64>,
    /// When.
    pub revision: u64,
}

/// What is known beside the answers.
#[derive(Debug, Clone, Copy)]
pub enum Evidence<'a> {
    /// Nothing: a write that nobody answered and nobody saw stays open. Reads of all registers at
    /// the end belong into the history itself.
    Nothing,
    /// All writes that were agreed on at this revision or later.
    Log {
        /// Where the log begins.
        from: u64,
        /// Its writes.
        writes: &'a [Written],
    },
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Operations whose place in the order is known.
    pub placed: usize,
    /// Answered operations without a revision, which were not looked at.
    pub unplaced: usize,
    /// Writes that nobody answered and that took effect by the log.
    pub resolved: usize,
    /// Writes that nobody answered and that the log, which goes back to the beginning, does not have.
    pub refuted: usize,
}

/// Checks a history.
///
/// # Errors
/// The first thing that no single copy of the state would have answered, or why the history cannot
/// be checked.
pub fn check(history: &History, evidence: Evidence<'_>) -> Result<Checked, String> {
    let mut operations = history.operations.clone();
    usable(history)?;
    let resolved = resolve::resolve(&mut operations, evidence)?;
    let floors = real_time::check(&operations, &resolved.late)?;
    let history = History { operations };
    let mut registers: BTreeMap<&str, Vec<Floored<'_>>> = BTreeMap::new();
    for (operation, floor) in history.operations.iter().zip(floors) {
        registers.entry(&operation.key).or_default().push((operation, floor));
    }
    for (key, operations) in registers {
        register::check(key, &operations)?;
    }
    let answered = |operation: &&_| matches!(operation, Outcome::Ok { .. });
    let outcomes = || history.operations.iter().map(|operation| &operation.outcome);
    let placed = history.operations.iter().filter(|o| o.revision().is_some()).count();
    let answers = outcomes().filter(answered).count();
    let (unplaced, refuted) = (answers - placed, resolved.never);
    Ok(Checked { placed, unplaced, resolved: resolved.late.len(), refuted })
}

/// An operation, and the highest revision that was answered when it began.
type Floored<'a> = (&'a Operation, u64);

/// No value is written twice to one register.
fn usable(history: &History) -> Result<(), String> {
    let mut written = BTreeSet::new();
    let writes = history.operations.iter().filter(|operation| operation.f == F::Write);
    for operation in writes {
        if !written.insert((&operation.key, operation.value)) {
            return Err(format!("the history cannot be checked: a second {operation}"));
        }
    }
    Ok(())
}
