//! No more tasks of a service on one node than it allows, counting those that are still ending.

use super::{Candidate, Refusal};

pub(super) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    match candidate.template.placement.max_replicas_per_node {
        0 => Ok(()),
        most if candidate.held < most => Ok(()),
        most => Err(Refusal::MaxPerNode(most)),
    }
}
