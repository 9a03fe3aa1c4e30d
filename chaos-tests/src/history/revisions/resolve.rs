//! Holds the writes of a history against the log: none is missing, none invented, none applied
//! twice; and gives those that nobody answered their revision, or none.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Written};
use crate::history::{F, Operation, Outcome};

/// What the log told.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Positions of writes that nobody answered and that took effect.
    pub(super) late: BTreeSet<usize>,
    /// How many others never did.
    pub(super) never: usize,
}

type Log<'a> = BTreeMap<(&'a str, Option<u64>), u64>;

/// Settles what became of writes that nobody answered.
pub(super) fn resolve(
    operations: &mut [Operation],
    evidence: Evidence<'_>,
) -> Result<Resolved, String> {
    let Evidence::Log { from, writes } = evidence else { return Ok(Resolved::default()) };
    let log = index(writes)?;
    let (mut late, mut never) = (BTreeSet::new(), 0);
    let mut known = BTreeSet::new();
    let first = operations.iter().filter_map(Operation::revision).min().unwrap_or(from);
    for (at, operation) in operations.iter_mut().enumerate() {
        if operation.f != F::Write {
            continue;
        }
        let logged = log.get(&(operation.key.as_str(), operation.value)).copied();
        known.extend(logged);
        match (operation.outcome, logged) {
            (Outcome::Failed, Some(revision)) => {
                return Err(format!("failed, yet it is in the log at r{revision}: {operation}"));
            }
            (Outcome::Ok { revision: Some(answered), .. }, Some(logged)) if answered != logged => {
                return Err(format!("in the log at r{logged}: {operation}"));
            }
            (Outcome::Ok { revision: Some(answered), .. }, None) if answered >= from => {
                return Err(format!("lost: acknowledged and not in the log: {operation}"));
            }
            (Outcome::Unknown, Some(revision)) => {
                late.insert(at);
                operation.outcome = Outcome::Ok { at: u64::MAX, revision: Some(revision) };
            }
            (Outcome::Unknown, None) if from <= first => {
                never += 1;
                operation.outcome = Outcome::Failed;
            }
            (Outcome::Ok { .. } | Outcome::Failed | Outcome::Unknown, _) => {}
        }
    }
    match writes.iter().find(|written| !known.contains(&written.revision)) {
        Some(stranger) => Err(format!("nobody asked for {stranger:?}, which is in the log")),
        None => Ok(Resolved { late, never }),
    }
}

fn index(writes: &[Written]) -> Result<Log<'_>, String> {
    let mut log = Log::new();
    for written in writes {
        let Written { key, value, revision } = written;
        if let Some(before) = log.insert((key.as_str(), *value), *revision) {
            return Err(format!("applied twice, at r{before} and r{revision}: {written:?}"));
        }
    }
    Ok(log)
}
