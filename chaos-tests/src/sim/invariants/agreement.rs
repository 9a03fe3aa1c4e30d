//! H: whoever has applied the same records has the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarm_model::view::View;

use super::Verdict;

/// How many revisions are remembered; nodes further behind are not compared.
const REMEMBERED: usize = 4096;

/// The state at each of the newest revisions.
#[derive(Debug, Default)]
pub struct Agreement {
    by_revision: BTreeMap<u64, (u32, Arc<View>)>,
    compared: u64,
}

impl Agreement {
    /// Node `number` shows `view`.
    ///
    /// # Errors
    /// When another one showed another state at the same revision.
    pub fn see(&mut self, number: u32, view: &Arc<View>) -> Verdict {
        let revision = view.revision.0;
        if let Some((other, known)) = self.by_revision.get(&revision) {
            if !Arc::ptr_eq(known, view) {
                self.compared += 1;
                if known != view {
                    return Err(format!("H: n{other} and n{number} differ at revision {revision}"));
                }
            }
            return Ok(());
        }
        self.by_revision.insert(revision, (number, view.clone()));
        while self.by_revision.len() > REMEMBERED {
            self.by_revision.pop_first();
        }
        Ok(())
    }

    /// How often two states were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::meta::Revision;

    #[test]
    fn another_state_at_the_same_revision_is_found() {
        let mut agreement = Agreement::default();
        let view = |removed: u128| {
            let mut view = View { revision: Revision(7), ..View::default() };
            view.removed_nodes.insert(swarm_model::id::NodeId::from_raw(removed));
            Arc::new(view)
        };
        assert_eq!(agreement.see(1, &view(1)), Ok(()));
        assert_eq!(agreement.see(2, &view(1)), Ok(()));
        assert!(agreement.see(3, &view(2)).is_err());
        assert_eq!(agreement.compared(), 2);
    }
}
