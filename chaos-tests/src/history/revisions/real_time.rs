//! Revisions agree with real time: what begins after an answer stands after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{F, Operation};

/// Sweeps over time with the highest revision that was answered so far, and gives for each operation
/// what that was when it began. `late` are writes of which only the log tells: nobody was told their
/// revision.
pub(super) fn check(operations: &[Operation], late: &BTreeSet<usize>) -> Result<Vec<u64>, String> {
    one_write_a_revision(operations)?;
    // (time, whether it is an answer, which operation): an invocation in the same microsecond is
    // first, so that the two count as concurrent.
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
    for (at, operation) in operations.iter().enumerate() {
        moments.push((operation.invoked, false, at));
        if operation.revision().is_some() && !late.contains(&at) {
            moments.push((operation.ended(), true, at));
        }
    }
    moments.sort_unstable();
    let mut floors = vec![0; operations.len()];
    let mut newest: Option<&Operation> = None;
    for (_, answer, at) in moments {
        let operation = &operations[at];
        let (revision, floor) = (operation.revision(), newest.and_then(Operation::revision));
        if answer {
            if revision > floor {
                newest = Some(operation);
            }
            continue;
        }
        floors[at] = floor.unwrap_or(0);
        if revision.is_none() {
            continue;
        }
        let in_order = match operation.f {
            F::Read => revision >= floor,
            F::Write => revision > floor,
        };
        if let (false, Some(newest)) = (in_order, newest) {
            return Err(format!("stale: {operation}, begun after the answer to: {newest}"));
        }
    }
    Ok(floors)
}

fn one_write_a_revision(operations: &[Operation]) -> Result<(), String> {
    let mut writes: BTreeMap<u64, &Operation> = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.f == F::Write) {
        let Some(revision) = operation.revision() else { continue };
        if let Some(other) = writes.insert(revision, operation) {
            return Err(format!("two writes at one revision: {operation}, and: {other}"));
        }
    }
    Ok(())
}
