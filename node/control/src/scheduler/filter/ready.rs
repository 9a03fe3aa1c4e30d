//! Only nodes that are heard from and open for tasks.

use swarm_model::node::{Availability, Reachability};

use super::{Candidate, Refusal};

pub(super) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    if candidate.open {
        return Ok(());
    }
    match candidate.node.status.reachability {
        Reachability::Down => return Err(Refusal::Down),
        Reachability::Unknown => return Err(Refusal::NotHeard),
        Reachability::Ready => {}
    }
    match candidate.node.spec.availability {
        Availability::Active => Ok(()),
        closed @ (Availability::Pause | Availability::Drain) => Err(Refusal::Closed(closed)),
    }
}
