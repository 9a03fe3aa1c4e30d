//! Only nodes that meet every constraint.

use super::{Candidate, Refusal};

pub(super) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    let constraints = &candidate.template.placement.constraints;
    match constraints.iter().find(|constraint| !constraint.allows(candidate.node)) {
        Some(broken) => Err(Refusal::Constraint(broken)),
        None => Ok(()),
    }
}
