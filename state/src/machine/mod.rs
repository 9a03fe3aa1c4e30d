//! The state machine: applies one command at a time to the view, the same on every node.
//!
//! Synchronous and deterministic; time, ids and choices are inside the command. A command either
//! changes the view and answers what was done, or changes nothing and answers why.

mod change;
mod cluster;
mod config;
mod due;
mod guard;
mod node;
mod recover;
mod requests;
mod run;
mod seats;
mod service;
mod snapshot;
mod task;
mod update;

use swarm_model::command::{Actor, Command, Op};
use swarm_model::event::{Action, Event, Subject};
use swarm_model::meta::{Meta, Revision, Term};
use swarm_model::outcome::{Done, Outcome, Rejection};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use self::requests::Requests;
pub use self::snapshot::RestoreError;
use crate::mistake::{Mistake, planted};

/// The replicated state. Clones are cheap: the maps inside share their structure.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    view: View,
    requests: Requests,
}

/// One command being applied: the view it changes, and what it says about it.
struct Change<'a> {
    view: &'a mut View,
    at: Revision,
    now: Timestamp,
    actor: &'a Actor,
    events: Vec<Event>,
}

impl Machine {
    /// An empty state, before the first command.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state after the newest command.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Applies the entry at `at`, which was logged in `term`.
    ///
    /// # Panics
    /// When `at` is not newer than everything applied before: the log would be out of order, and
    /// going on would tear the replicas apart.
    pub fn apply(&mut self, at: Revision, term: Term, command: &Command) -> (Outcome, Vec<Event>) {
        assert!(at > self.view.revision, "entry {at} applied after {}", self.view.revision);
        self.view.revision = at;
        if let Some(known) = command
            .request
            .and_then(|request| self.requests.answer(request))
            .filter(|_| !planted(Mistake::ApplyRetryTwice))
        {
            return (known, Vec::new());
        }
        let (now, actor, events) = (command.at, &command.actor, Vec::new());
        let mut change = Change { view: &mut self.view, at, now, actor, events };
        let outcome = change.guarded(term, command);
        let events = change.events;
        if let Some(request) = command.request {
            self.requests.remember(request, command.at, at, outcome.clone());
        }
        (outcome, events)
    }

    /// The revision at which a command was applied that was applied before as well as now: that of
    /// its first entry, however often it was repeated. Nothing when it is not remembered.
    pub fn applied_at(&self, command: &Command) -> Option<Revision> {
        command.request.and_then(|request| self.requests.revision(request))
    }

    /// A copy of `view` to try commands on. It remembers no requests, so its snapshot is not the
    /// original's.
    pub fn trial(view: View) -> Self {
        Self { view, requests: Requests::default() }
    }

    /// Notes an entry that carries no command, so that the view's revision keeps up.
    pub fn advance(&mut self, at: Revision) {
        self.view.revision = self.view.revision.max(at);
    }
}

impl Change<'_> {
    fn apply(&mut self, term: Term, op: &Op) -> Outcome {
        match op {
            Op::InitCluster { id, spec, ca_certificate, node } => {
                self.init_cluster(*id, spec, ca_certificate, node)
            }
            Op::UpdateCluster { version, spec } => self.update_cluster(*version, spec),
            Op::RotateToken { role } => self.rotate_token(*role),
            Op::CreateToken { id, token } => self.create_token(*id, token),
            Op::AddNode(node) => self.add_node(node),
            Op::UpdateNode { id, version, spec, drain_deadline } => {
                self.update_node(*id, *version, spec, *drain_deadline)
            }
            Op::DescribeNode { id, incarnation, description, addr } => {
                self.describe_node(*id, *incarnation, description, addr)
            }
            Op::SetReachability { id, incarnation, reachability, message } => {
                self.set_reachability(*id, *incarnation, *reachability, message)
            }
            Op::RemoveNode { id, force } => self.remove_node(*id, *force),
            Op::CreateService { id, spec } => self.create_service(*id, spec),
            Op::UpdateService { id, version, spec, steered } => {
                self.update_service(*id, *version, spec, *steered)
            }
            Op::RemoveService { id } => self.remove_service(*id),
            Op::CreateConfig { id, spec } => self.create_config(*id, spec),
            Op::UpdateConfig { id, version, spec } => self.update_config(*id, *version, spec),
            Op::RemoveConfig { id } => self.remove_config(*id),
            Op::ReportStatus { node, reports } => self.report_status(*node, reports),
            Op::ApplyPlan { term: given, base, changes } => {
                if *given != term && !planted(Mistake::TakeStalePlan) {
                    return Err(Rejection::StaleTerm { have: term, given: *given });
                }
                Ok(self.apply_plan(*base, changes))
            }
            Op::RollbackService { id, version, to } => self.rollback_service(*id, *version, *to),
            Op::PauseUpdate { id, paused } => self.pause_update(*id, *paused),
            Op::PromoteUpdate { id } => self.promote_update(*id),
            Op::Evict { moves } => self.evict(moves),
            Op::StartRun { id } => self.ask_for_run(*id),
            Op::StopRun { id, run } => self.stop_runs(*id, *run),
        }
    }

    /// The meta data of an object that is created now.
    fn new_meta(&self) -> Meta {
        Meta::new(self.at, self.now)
    }

    /// Says that something changed.
    fn emit(&mut self, subject: Subject, action: Action, name: &str, more: &[(&str, String)]) {
        self.events.push(Event {
            revision: self.at,
            at: self.now,
            subject,
            action,
            name: name.to_owned(),
            attributes: more
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        });
    }
}

/// The plain answer of a command that has nothing to tell.
const DONE: Outcome = Ok(Done::Nothing);

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
