//! Seats of jobs: whether a run takes a task more.
//!
//! A plan that was decided on an older view could take too many, or a slot that succeeded since.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::ServiceId;
use swarm_model::job::Run;
use swarm_model::plan::NewTask;
use swarm_model::service::ServiceMode;
use swarm_model::task::Slot;
use swarm_model::view::View;

use super::Change;

/// The slots of runs that are taken while a plan is applied: found out once a plan.
#[derive(Debug, Default)]
pub(super) struct Busy(BTreeMap<(ServiceId, u64), BTreeSet<Slot>>);

impl Busy {
    /// Takes `slot` of `run` if fewer than `most` are taken, or it is one of them.
    fn admits(&mut self, view: &View, run: &Run, slot: Slot, most: u32) -> bool {
        let taken = self.0.entry((run.service, run.number)).or_insert_with(|| {
            let tasks = view.tasks_of(run.service).filter(|task| task.takes_slot());
            let open = |slot: &Slot| {
                run.index_of(*slot).is_some_and(|index| !run.succeeded.contains(index))
            };
            tasks.map(|task| task.slot).filter(open).collect()
        });
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if taken.len() >= most && !taken.contains(&slot) {
            return false;
        }
        taken.insert(slot);
        true
    }
}

impl Change<'_> {
    /// Whether a task may be created in the slot of `new`: the run goes on, the slot has yet to succeed, and
    /// there is a seat.
    pub(super) fn run_takes(&self, busy: &mut Busy, new: &NewTask) -> bool {
        let Some(number) = new.slot.run() else { return true };
        let run = self.view.runs.get(&(new.service, number)).filter(|run| run.is_active());
        let Some((run, index)) = run.and_then(|run| Some((run, run.index_of(new.slot)?))) else {
            return false;
        };
        let service = self.view.services.get(&new.service);
        let most = service.map_or(0, |service| match service.spec.mode {
            ServiceMode::ReplicatedJob { max_concurrent, .. } => max_concurrent,
            ServiceMode::Replicated { .. } | ServiceMode::Global {} | ServiceMode::GlobalJob {} => {
                0
            }
        });
        !run.succeeded.contains(index) && (most == 0 || busy.admits(self.view, run, new.slot, most))
    }
}
