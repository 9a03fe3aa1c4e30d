//! Runs of jobs: how they begin, what they achieve, how they end.
//!
//! A success is counted in the entry that records the end of its task: so there are as many as tasks ended
//! well in different slots, whatever leaders do. Which tasks a run needs is the leader's decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_model::event::{Action, Subject};
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::job::{Run, RunPhase};
use swarm_model::outcome::{Done, Outcome, Rejection};
use swarm_model::plan::NewTask;
use swarm_model::ranges::Ranges;
use swarm_model::schedule::Overlap;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use super::Change;

/// The most runs of one job that go on at a time, though they may overlap: programs that never end would
/// pile up without a bound.
pub(super) const ACTIVE_RUNS_MAX: usize = 100;

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
    /// Starts a run because somebody asked for it.
    pub(super) fn ask_for_run(&mut self, id: ServiceId) -> Outcome {
        let mut service = self.job_at(id)?;
        if let Some(run) = self.in_the_way(&service) {
            let service = service.spec.name.to_string();
            return Err(Rejection::RunActive { service, run });
        }
        service.meta.touch(self.at, self.now);
        let done = Done::Service(id, service.meta.version);
        self.view.put_service(service.clone());
        self.start_run(&service, None);
        Ok(done)
    }

    /// The run of `service` that another one may not run beside, the oldest of the newest that fill all
    /// places; such as have to give way are ended.
    fn in_the_way(&mut self, service: &Service) -> Option<u64> {
        let overlap = service.spec.schedule.as_ref().map(|schedule| schedule.overlap);
        let most = match overlap.unwrap_or_default() {
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
        let state = service.schedule.as_mut().filter(|state| state.cursor == cursor_was)?;
        if service.removing {
            return None;
        }
        state.cursor = cursor;
        self.view.put_service(service.clone());
        if due.is_empty() {
            let more = [("schedule", format!("goes on from {cursor}, the clock was ahead"))];
            let name = service.spec.name.to_string();
            self.emit(Subject::Service(id), Action::Update, &name, &more);
        }
        for due in due {
            match self.in_the_way(&service) {
                None => self.start_run(&service, Some(*due)),
                Some(run) => {
                    let reason = format!("run {run} still went on");
                    let skipped = self.new_run(&service, Some(*due));
                    self.finish(skipped, RunPhase::Skipped { reason });
                    self.forget_runs(&service);
                }
            }
        }
        Some(())
    }

    /// Stops one run, or all that go on, because somebody asked for it.
    pub(super) fn stop_runs(&mut self, id: ServiceId, number: Option<u64>) -> Outcome {
        let service = self.job_at(id)?;
        let stopped = self.end_runs(&service, number, &RunPhase::Stopped);
        if stopped == 0 {
            let service = service.spec.name.to_string();
            return Err(Rejection::NoRun { service, given: number });
        }
        Ok(Done::Service(id, service.meta.version))
    }

    fn job_at(&self, id: ServiceId) -> Result<Service, Rejection> {
        let service = self.service_at(id, None)?;
        if service.spec.mode.is_job() {
            return Ok(service);
        }
        Err(Rejection::NotAJob { service: service.spec.name.to_string() })
    }

    /// Ends the runs of `service` that go on, or the one of that `number`: how many.
    fn end_runs(&mut self, service: &Service, number: Option<u64>, phase: &RunPhase) -> usize {
        let runs = self.view.runs_of(service.id).filter(|run| run.is_active());
        let runs = runs.filter(|run| number.is_none_or(|number| number == run.number));
        let runs: Vec<Run> = runs.map(|run| Run::clone(run)).collect();
        let count = runs.len();
        runs.into_iter().for_each(|run| self.finish(run, phase.clone()));
        count
    }

    /// A new version of a job: what goes on of the one before ends, and a run begins.
    pub(super) fn run_anew(&mut self, service: &Service) {
        self.end_runs(service, None, &RunPhase::Replaced);
        self.start_run(service, None);
    }

    /// Starts a run of `service`, a job, and forgets the oldest ones that ended.
    pub(super) fn start_run(&mut self, service: &Service, due: Option<Timestamp>) {
        let run = self.new_run(service, due);
        if run.completions == 0 {
            let reason = "no node fitted when it began: see `swarm service explain`".to_owned();
            self.finish(run, RunPhase::Failed { reason });
        } else {
            self.emit_run(&run);
            self.view.runs.insert((run.service, run.number), Arc::new(run));
        }
        self.forget_runs(service);
    }

    /// The next run of `service`.
    fn new_run(&self, service: &Service, due: Option<Timestamp>) -> Run {
        let id = service.id;
        let number = self.view.newest_run(id).map_or(1, |run| run.number + 1);
        let (completions, nodes) = match service.spec.mode {
            ServiceMode::ReplicatedJob { completions, .. } => (completions, Vec::new()),
            ServiceMode::Replicated { .. } | ServiceMode::Global {} | ServiceMode::GlobalJob {} => {
                let nodes = self.nodes_for(service);
                (u32::try_from(nodes.len()).unwrap_or(u32::MAX), nodes)
            }
        };
        Run {
            service: id,
            number,
            began: self.at,
            template_version: service.template_version,
            completions,
            nodes,
            succeeded: Ranges::default(),
            failures: 0,
            phase: RunPhase::Active,
            started_at: self.now,
            ended_at: None,
            ended: None,
            due,
        }
    }

    /// Forgets the oldest runs that ended, those that did not take place apart from the others.
    fn forget_runs(&mut self, service: &Service) {
        let id = service.id;
        let most = usize::try_from(service.spec.job.keep_runs).unwrap_or(usize::MAX);
        let is_skipped = |run: &Run| matches!(run.phase, RunPhase::Skipped { .. });
        for skipped in [false, true] {
            let runs = self.view.runs_of(id).rev();
            let ended = runs.filter(|run| !run.is_active() && is_skipped(run) == skipped);
            let forgotten: Vec<u64> = ended.skip(most).map(|run| run.number).collect();
            forgotten.into_iter().for_each(|run| drop(self.view.runs.remove(&(id, run))));
        }
    }

    /// The nodes that a run of a global job wants to succeed on: those that fit now, however much others
    /// take of them for the moment.
    fn nodes_for(&self, service: &Service) -> Vec<NodeId> {
        let template = &service.template;
        let fits = |node: &&Arc<swarm_model::node::Node>| {
            let reserved = &template.resources.reservations;
            let constraints = &template.placement.constraints;
            node.takes_tasks()
                && node.description.resources.covers(reserved)
                && constraints.iter().all(|constraint| constraint.allows(node))
        };
        self.view.nodes.values().filter(fits).map(|node| node.id).collect()
    }

    /// Ends a run as the leader decided; `None` when it has ended, or is not as far as that says.
    pub(super) fn end_run(&mut self, id: ServiceId, run: u64, phase: &RunPhase) -> Option<()> {
        let run = self.view.runs.get(&(id, run)).filter(|run| run.is_active())?;
        match phase {
            RunPhase::Active | RunPhase::Skipped { .. } => return None,
            RunPhase::Complete => {
                // Nodes that are gone for ever are excused.
                let gone = |index: u32| {
                    let at = usize::try_from(index).ok().and_then(|it| it.checked_sub(1));
                    let node = at.and_then(|at| run.nodes.get(at));
                    node.is_some_and(|node| !self.view.nodes.contains_key(node))
                };
                if !run.succeeded.missing(run.completions).all(gone) {
                    return None;
                }
            }
            RunPhase::Failed { .. } | RunPhase::Replaced | RunPhase::Stopped => {}
        }
        let run = Run::clone(run);
        self.finish(run, phase.clone());
        Some(())
    }

    /// Counts the end of a task, which was recorded just now, for the run that it belongs to.
    pub(super) fn count_end(&mut self, task: &Task) {
        let Some(number) = task.slot.run() else { return };
        let Some(found) = self.view.runs.get(&(task.service, number)) else { return };
        let index = found.index_of(task.slot);
        let Some(index) = index.filter(|_| found.is_active()) else { return };
        let mut run = Run::clone(found);
        match task.status.state {
            ObservedState::Complete => {
                run.succeeded.insert(index);
            }
            ObservedState::Failed | ObservedState::Rejected
                if task.desired <= DesiredState::Running =>
            {
                run.failures = run.failures.saturating_add(1);
            }
            ObservedState::New
            | ObservedState::Pending
            | ObservedState::Assigned
            | ObservedState::Accepted
            | ObservedState::Preparing
            | ObservedState::Ready
            | ObservedState::Starting
            | ObservedState::Running
            | ObservedState::Shutdown
            | ObservedState::Failed
            | ObservedState::Rejected
            | ObservedState::Orphaned => return,
        }
        if run.succeeded.count() == run.completions {
            self.finish(run, RunPhase::Complete);
        } else {
            self.view.runs.insert((run.service, number), Arc::new(run));
        }
    }

    /// Stores `run` as ended.
    fn finish(&mut self, mut run: Run, phase: RunPhase) {
        run.phase = phase;
        run.ended_at = Some(self.now);
        let (id, version) = (run.service, run.template_version);
        if run.phase == RunPhase::Complete && self.view.histories.contains_key(&id) {
            self.history(id).note_stood(version);
        }
        self.emit_run(&run);
        self.view.runs.insert((id, run.number), Arc::new(run));
    }

    fn emit_run(&mut self, run: &Run) {
        let service = self.view.services.get(&run.service);
        let name = service.map_or_else(String::new, |service| service.spec.name.to_string());
        let more = [
            ("run", run.number.to_string()),
            ("phase", run.phase.word().to_owned()),
            ("succeeded", format!("{}/{}", run.succeeded.count(), run.completions)),
            ("reason", run.phase.reason().to_owned()),
            ("due", run.due.map(|due| due.to_string()).unwrap_or_default()),
        ];
        self.emit(Subject::Service(run.service), Action::Update, &name, &more);
    }

    /// Whether a task may be created in `task`'s slot: the run goes on, the slot has yet to succeed, and
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
