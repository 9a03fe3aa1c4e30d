//! The check that is blind to revisions: whether each register is linearizable by times and values
//! alone. Wing and Gong's search (1993) with Lowe's memory of what was tried (2017), a register at a
//! time, since linearizability is local.

mod calls;

use std::collections::HashSet;

use super::{F, History, Operation, Outcome};
use calls::{Calls, Done};

/// The most operations of one register that the search is fit for.
pub const OPERATIONS_MAX: usize = 1000;
/// Steps after which a register is given up on as too tangled.
const STEPS_MAX: u64 = 5_000_000;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Registers found linearizable.
    pub registers: usize,
    /// Their operations.
    pub operations: usize,
    /// Registers that had too many operations, or too many at once. They were not judged.
    pub given_up: usize,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// An order exists.
    Linearizable,
    /// None exists; this answer is the furthest that any order got stuck before.
    Not {
        /// In words.
        stuck_at: String,
    },
    /// Too many operations, or too many at once.
    GaveUp,
}

/// Checks every register of a history.
///
/// # Errors
/// The first register that is not linearizable.
pub fn check(history: &History) -> Result<Checked, String> {
    let mut checked = Checked::default();
    for (key, operations) in history.by_key() {
        match register(&operations) {
            Verdict::Linearizable => {
                checked.registers += 1;
                checked.operations += operations.len();
            }
            Verdict::Not { stuck_at } => {
                return Err(format!("{key} is not linearizable: {stuck_at}"));
            }
            Verdict::GaveUp => checked.given_up += 1,
        }
    }
    Ok(checked)
}

/// Searches an order of the operations of one register.
pub fn register(operations: &[&Operation]) -> Verdict {
    let counts: Vec<&Operation> = operations.iter().copied().filter(|o| matters(o)).collect();
    if counts.len() > OPERATIONS_MAX {
        return Verdict::GaveUp;
    }
    search(&counts)
}

/// What failed did not happen, and what nobody knows of a read tells nothing.
fn matters(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Ok { .. } => true,
        Outcome::Failed => false,
        Outcome::Unknown => operation.f == F::Write,
    }
}

/// A step that was taken: which operation took effect, and what the register held before.
type Step = (usize, Option<u64>);

fn search(operations: &[&Operation]) -> Verdict {
    let mut calls = Calls::new(operations);
    let mut answered = operations.iter().filter(|o| o.ended() != u64::MAX).count();
    let mut done = Done::new(operations.len());
    let mut tried: HashSet<(Done, Option<u64>)> = HashSet::new();
    let (mut taken, mut holds): (Vec<Step>, Option<u64>) = (Vec::new(), None);
    let mut stuck: Option<(usize, usize)> = None;
    let (mut at, mut steps) = (calls.first(), 0_u64);
    // Writes that nobody answered may take effect after everything else, so they need no place.
    while answered > 0 {
        steps += 1;
        if steps > STEPS_MAX {
            return Verdict::GaveUp;
        }
        if let Some(operation) = calls.invoked(at) {
            let now = effect(operations[operation], holds);
            let fresh = now.is_some_and(|now| {
                done.set(operation, true);
                tried.insert((done.clone(), now)) || {
                    done.set(operation, false);
                    false
                }
            });
            match now.filter(|_| fresh) {
                Some(now) => {
                    taken.push((operation, holds));
                    holds = now;
                    answered -= usize::from(operations[operation].ended() != u64::MAX);
                    calls.lift(operation);
                    at = calls.first();
                }
                None => at = calls.next(at),
            }
            continue;
        }
        // An answer whose operation has no place yet: what was done before it was wrong.
        if let Some(operation) = calls.answered(at) {
            stuck = stuck.max(Some((taken.len(), operation)));
        }
        let Some((operation, before)) = taken.pop() else {
            let stuck_at = stuck.map(|(_, at)| operations[at].to_string());
            return Verdict::Not { stuck_at: stuck_at.unwrap_or_default() };
        };
        holds = before;
        done.set(operation, false);
        answered += usize::from(operations[operation].ended() != u64::MAX);
        calls.put_back(operation);
        at = calls.after_invocation(operation);
    }
    Verdict::Linearizable
}

/// What the register holds after `operation`; none when it cannot have answered so.
fn effect(operation: &Operation, holds: Option<u64>) -> Option<Option<u64>> {
    match operation.f {
        F::Write => Some(operation.value),
        F::Read => (operation.value == holds).then_some(holds),
    }
}
