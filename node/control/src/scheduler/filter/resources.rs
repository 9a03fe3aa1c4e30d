//! Only nodes where the reservation fits beside all others: nothing is promised twice.

use super::{Candidate, Refusal};

pub(super) fn check<'a>(candidate: &Candidate<'a>) -> Result<(), Refusal<'a>> {
    let (needs, free) = (candidate.needs(), &candidate.free);
    if free.memory < needs.memory {
        return Err(Refusal::Memory { needs: needs.memory, free: free.memory });
    }
    if free.cpu < needs.cpu {
        return Err(Refusal::Cpu { needs: needs.cpu, free: free.cpu });
    }
    for (kind, count) in &needs.generic {
        let free = free.generic(kind);
        if free < *count {
            return Err(Refusal::Generic { kind, needs: *count, free });
        }
    }
    Ok(())
}
