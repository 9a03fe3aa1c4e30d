//! One register in the order of revisions: each read sees the newest write before it.

use std::collections::BTreeMap;

use super::Floored;
use crate::history::{F, Operation, Outcome};

/// Checks the operations of `key`.
pub(super) fn check(key: &str, operations: &[Floored<'_>]) -> Result<(), String> {
    // Writes that nobody answered, by value: each takes effect at most once.
    let mut open: BTreeMap<Option<u64>, Floored<'_>> = BTreeMap::new();
    let mut placed: Vec<(u64, bool, &Operation)> = Vec::with_capacity(operations.len());
    for (operation, floor) in operations {
        if let Some(revision) = operation.revision() {
            placed.push((revision, operation.f == F::Read, operation));
        } else if operation.f == F::Write && operation.outcome != Outcome::Failed {
            open.insert(operation.value, (operation, *floor));
        }
    }
    placed.sort_by_key(|(revision, read, _)| (*revision, *read));
    let mut holds = None;
    let mut stood_at = None;
    for (revision, _, operation) in placed {
        if operation.value != holds && operation.f == F::Read {
            let write = open.remove(&operation.value);
            let possible = write.is_some_and(|(write, floor)| {
                write.invoked < operation.ended() && floor < revision
            }) && stood_at.is_none_or(|stood_at| stood_at < revision);
            if !possible {
                let held = holds.map_or("nothing".to_owned(), |value: u64| value.to_string());
                let why = explain(operation, operations);
                return Err(format!("{key} held {held}: {operation}: {why}"));
            }
        }
        // What a write replaces never comes back: its write is known or was spent.
        holds = operation.value;
        stood_at = Some(revision);
    }
    Ok(())
}

/// Why a read cannot have seen what it saw.
fn explain(read: &Operation, operations: &[Floored<'_>]) -> String {
    let mut writes = operations.iter().map(|(operation, _)| operation).filter(|o| o.f == F::Write);
    match writes.find(|write| write.value == read.value) {
        None if read.value.is_none() => "nobody removed it".to_owned(),
        None => "nobody ever wrote that".to_owned(),
        Some(write) => format!("not what stands there by the {write}"),
    }
}
