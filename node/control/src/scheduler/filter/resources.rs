//! Only nodes where the reservation fits beside all others: neither memory nor CPU is promised
//! twice.

use super::{Candidate, Refusal};

pub(super) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    let (needs, free) = (&candidate.template.resources.reservations, &candidate.free);
    if free.memory < needs.memory {
        return Err(Refusal::Memory { needs: needs.memory, free: free.memory });
    }
    if free.cpu < needs.cpu {
        return Err(Refusal::Cpu { needs: needs.cpu, free: free.cpu });
    }
    Ok(())
}
