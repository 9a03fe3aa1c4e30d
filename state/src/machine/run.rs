//! Runs of jobs: how they begin, what they achieve, how they end.
//!
//! A success is counted in the entry that records the end of its task: so there are as many as tasks ended
//! well in different slots, whatever leaders do. Which tasks a run needs is the leader's decision.

use std::cmp::Reverse;
use std::sync::Arc;

use swarm_model::event::{Action, Subject};
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::job::{RUN_REASON_MAX, Run, RunPhase};
use swarm_model::meta::Revision;
use swarm_model::outcome::{Done, Outcome, Rejection};
use swarm_model::ranges::Ranges;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::Task;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;

use super::Change;
use crate::mistake::{Mistake, planted};

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
    pub(super) fn end_runs(
        &mut self,
        service: &Service,
        number: Option<u64>,
        phase: &RunPhase,
    ) -> usize {
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

    /// Starts a run of `service`, a job.
    pub(super) fn start_run(&mut self, service: &Service, due: Option<Timestamp>) {
        let run = self.new_run(service, due);
        if run.completions == 0 {
            let reason = "no node fitted when it began: see `swarm service explain`".to_owned();
            self.finish(run, RunPhase::Failed { reason });
        } else {
            self.emit_run(&run);
            self.view.runs.insert((run.service, run.number), Arc::new(run));
            // The one before may have stayed for its number alone.
            self.forget_runs(service);
        }
    }

    /// The next run of `service`.
    pub(super) fn new_run(&self, service: &Service, due: Option<Timestamp>) -> Run {
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

    /// Forgets the runs of `service` that ended first, those that did not take place apart from the others.
    /// The newest one stays in any case: the next one's number follows from it.
    pub(super) fn forget_runs(&mut self, service: &Service) {
        let id = service.id;
        let most = usize::try_from(service.spec.job.keep_runs).unwrap_or(usize::MAX);
        let newest = self.view.newest_run(id).map(|run| run.number);
        let is_skipped = |run: &Run| matches!(run.phase, RunPhase::Skipped { .. });
        for skipped in [false, true] {
            let runs = self.view.runs_of(id);
            let ended = runs.filter(|run| !run.is_active() && is_skipped(run) == skipped);
            let mut ended: Vec<_> =
                ended.map(|run| (Reverse(run.ended), Reverse(run.number))).collect();
            ended.sort_unstable();
            let forgotten = ended.into_iter().skip(most).map(|(_, Reverse(number))| number);
            forgotten.filter(|number| Some(*number) != newest).for_each(|number| {
                self.view.runs.remove(&(id, number));
            });
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

    /// Ends a run as the leader decided on what was there at `base`; `None` when it has ended, is not as far
    /// as that says, or the job is another one by now: its deadline or attempts may be.
    pub(super) fn end_run(
        &mut self,
        base: Revision,
        id: ServiceId,
        run: u64,
        phase: &RunPhase,
    ) -> Option<()> {
        let run = self.view.runs.get(&(id, run)).filter(|run| run.is_active())?;
        let service = self.view.services.get(&id)?;
        if self.is_later(service.meta, base) || phase.reason().len() > RUN_REASON_MAX {
            return None;
        }
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
                let again = !run.succeeded.insert(index) && planted(Mistake::CountTwice);
                let other = run.succeeded.missing(run.completions).next().filter(|_| again);
                other.into_iter().for_each(|index| {
                    run.succeeded.insert(index);
                });
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
    pub(super) fn finish(&mut self, mut run: Run, phase: RunPhase) {
        run.phase = phase;
        (run.ended_at, run.ended) = (Some(self.now), Some(self.at));
        let (id, version) = (run.service, run.template_version);
        let service = self.view.services.get(&id).cloned();
        // Tasks are made from the template of their time: after a change the run proves none.
        let proves = service.as_ref().is_some_and(|service| service.template_version == version);
        if run.phase == RunPhase::Complete && proves && self.view.histories.contains_key(&id) {
            self.history(id).note_stood(version);
        }
        self.emit_run(&run);
        self.view.runs.insert((id, run.number), Arc::new(run));
        service.into_iter().for_each(|service| self.forget_runs(&service));
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
}
