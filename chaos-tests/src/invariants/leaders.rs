//! E: at most one leader a term.

use std::collections::BTreeMap;

use swarm_model::id::NodeId;
use swarm_model::meta::Term;

use super::Look;

/// Remembers who led each term.
#[derive(Debug, Default)]
pub struct OneLeaderATerm {
    leaders: BTreeMap<Term, NodeId>,
}

impl OneLeaderATerm {
    /// Compares what a node says with what was said before.
    ///
    /// # Errors
    /// Two leaders of one term.
    pub fn see(&mut self, look: &Look) -> Result<(), String> {
        look.info.leader.map_or(Ok(()), |leader| self.led(look.info.term, leader))
    }

    /// As [`OneLeaderATerm::see`], of a term and its leader.
    ///
    /// # Errors
    /// Two leaders of one term.
    pub fn led(&mut self, term: Term, leader: NodeId) -> Result<(), String> {
        let known = *self.leaders.entry(term).or_insert(leader);
        if known == leader { Ok(()) } else { Err(format!("{known} and {leader} lead term {term}")) }
    }
}
