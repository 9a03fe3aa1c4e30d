//! Times at which jobs are due: which of them start a run.
//!
//! When a job is due is the leader's to say; what is decided here is that each time has one run at most, and
//! which runs may go on side by side.

use swarm_model::event::{Action, Subject};
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::schedule::{DUE_MAX, Overlap};
use swarm_model::service::Service;
use swarm_model::units::Timestamp;

use super::Change;
use crate::mistake::{Mistake, planted};

/// The most runs of one job that go on at a time, though they may overlap: programs that never end would
/// pile up without a bound.
pub(super) const ACTIVE_RUNS_MAX: usize = 100;

impl Change<'_> {
    /// The run of `service` that another one may not run beside, the oldest of the newest that fill all
    /// places; such as have to give way are ended.
    pub(super) fn in_the_way(&mut self, service: &Service) -> Option<u64> {
        let most = match overlap(service) {
            Overlap::Skip => 1,
            Overlap::Allow => ACTIVE_RUNS_MAX,
            Overlap::Replace => {
                self.end_runs(service, None, &RunPhase::Replaced);
                return None;
            }
        };
        let active = self.view.runs_of(service.id).rev().filter(|run| run.is_active());
        active.map(|run| run.number).nth(most - 1)
    }

    /// Lets a job run for each time at which it was due; `None` when one of them was decided on before.
    /// The service keeps its version: nobody changed what it is, so no change of somebody's is in the way.
    pub(super) fn fire(
        &mut self,
        id: ServiceId,
        cursor_was: Timestamp,
        cursor: Timestamp,
        due: &[Timestamp],
    ) -> Option<()> {
        let found = self.view.services.get(&id)?;
        let mut service = Service::clone(found);
        let state = service.schedule.as_mut()?;
        let moved = state.cursor != cursor_was && !planted(Mistake::FireTwice);
        if service.removing || moved || due.len() > DUE_MAX {
            return None;
        }
        state.cursor = cursor;
        self.view.put_service(service.clone());
        // A schedule that a wrong clock advanced goes back: what has a run was decided on before.
        let undecided: Vec<Timestamp> =
            due.iter().copied().filter(|due| !self.has_run(id, *due)).collect();
        if undecided.is_empty() {
            // The leader hears of it and looks again.
            let why =
                if due.is_empty() { "the clock was ahead" } else { "what was due had its run" };
            let more = [("schedule", format!("goes on from {cursor}, {why}"))];
            let name = service.spec.name.to_string();
            self.emit(Subject::Service(id), Action::Update, &name, &more);
        }
        let newest = undecided.last().copied();
        for due in undecided {
            if overlap(&service) == Overlap::Replace && Some(due) != newest {
                self.skip(&service, due, "a newer one was due as well".to_owned());
                continue;
            }
            match self.in_the_way(&service) {
                None => self.start_run(&service, Some(due)),
                Some(run) => self.skip(&service, due, format!("run {run} still went on")),
            }
        }
        Some(())
    }

    /// Whether a run for that time is remembered.
    fn has_run(&self, id: ServiceId, due: Timestamp) -> bool {
        self.view.runs_of(id).any(|run| run.due == Some(due)) && !planted(Mistake::FireTwice)
    }

    /// Notes a run that does not take place.
    fn skip(&mut self, service: &Service, due: Timestamp, reason: String) {
        let skipped = self.new_run(service, Some(due));
        self.finish(skipped, RunPhase::Skipped { reason });
    }
}

fn overlap(service: &Service) -> Overlap {
    service.spec.schedule.as_ref().map(|schedule| schedule.overlap).unwrap_or_default()
}
