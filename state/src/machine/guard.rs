//! `if_revision`: a change that was decided on a view is refused when that view does not hold any more.
//!
//! What counts are specs, nodes and configs, that an update stopped or turned back, and that somebody
//! started or stopped a job's run; what tasks and schedules do all the time does not. Keeps the revision
//! of the newest such change, from the first command on that asks: replicas that came from an older
//! program's snapshot could not know it, and would part.

use swarm_model::command::{Command, Op};
use swarm_model::event::{Event, Subject};
use swarm_model::meta::{Revision, Term};
use swarm_model::outcome::{Outcome, Rejection};
use swarm_model::plan::Change as Decision;
use swarm_model::update::UpdateStep;
use swarm_model::view::View;

use super::Change;

impl Change<'_> {
    /// Applies what `command` says if it may still be applied.
    pub(super) fn guarded(&mut self, term: Term, command: &Command) -> Outcome {
        self.check(command.if_revision)?;
        let outcome = self.apply(term, &command.op)?;
        if self.view.intent > Revision(0) && self.shows_intent(&command.op) {
            self.view.intent = self.at;
        }
        Ok(outcome)
    }

    fn check(&mut self, given: Option<Revision>) -> Result<(), Rejection> {
        let Some(given) = given else { return Ok(()) };
        if self.view.intent == Revision(0) {
            self.view.intent = newest(self.view);
        }
        let have = self.view.intent;
        if (have..self.at).contains(&given) {
            return Ok(());
        }
        Err(Rejection::RevisionConflict { have, given })
    }

    /// Whether `op`, which was applied, changed what plans are made from.
    fn shows_intent(&self, op: &Op) -> bool {
        match op {
            Op::InitCluster { .. }
            | Op::UpdateCluster { .. }
            | Op::AddNode(_)
            | Op::UpdateNode { .. }
            | Op::DescribeNode { .. }
            | Op::SetReachability { .. }
            | Op::RemoveNode { .. }
            | Op::CreateService { .. }
            | Op::UpdateService { .. }
            | Op::RemoveService { .. }
            | Op::CreateConfig { .. }
            | Op::UpdateConfig { .. }
            | Op::RemoveConfig { .. }
            | Op::RollbackService { .. }
            | Op::PauseUpdate { .. }
            | Op::StartRun { .. }
            | Op::StopRun { .. }
            | Op::PromoteUpdate { .. } => self.events.iter().any(is_of_object),
            Op::ApplyPlan { changes, .. } => {
                changes.iter().any(|change| self.stops_an_update(change))
            }
            Op::RotateToken { .. }
            | Op::CreateToken { .. }
            | Op::ReportStatus { .. }
            | Op::Evict { .. } => false,
        }
    }

    /// Whether `change` was made and ended an update before its time.
    fn stops_an_update(&self, change: &Decision) -> bool {
        match change {
            Decision::Update {
                service,
                step: UpdateStep::Pause { .. } | UpdateStep::RollBack { .. },
                ..
            } => {
                let found = self.view.services.get(service);
                found.is_some_and(|service| service.meta.version == self.at.into())
            }
            Decision::Update {
                step: UpdateStep::Complete { .. } | UpdateStep::Prove { .. },
                ..
            }
            | Decision::CreateTask(_)
            | Decision::Assign { .. }
            | Decision::Explain { .. }
            | Decision::SetDesired { .. }
            | Decision::Orphan { .. }
            | Decision::RemoveTask { .. }
            | Decision::DeleteService { .. }
            | Decision::Preempt { .. }
            | Decision::Yield { .. }
            | Decision::Fire { .. }
            | Decision::EndRun { .. } => false,
        }
    }
}

fn is_of_object(event: &Event) -> bool {
    match event.subject {
        Subject::Cluster | Subject::Node(_) | Subject::Service(_) | Subject::Config(_) => true,
        Subject::Task { .. } | Subject::Token(_) => false,
    }
}

/// The newest version of what there is: what is gone by now does not tell when it went.
fn newest(view: &View) -> Revision {
    let services = view.services.values().map(|service| service.meta.version);
    let nodes = view.nodes.values().map(|node| node.meta.version);
    let configs = view.configs.values().map(|config| config.meta.version);
    let cluster = view.cluster.iter().map(|cluster| cluster.meta.version);
    let newest = services.chain(nodes).chain(configs).chain(cluster).max();
    newest.map_or(Revision(0), |version| Revision(version.0))
}
