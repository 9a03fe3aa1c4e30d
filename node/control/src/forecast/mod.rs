//! What would become of a change: the same decisions on a copy of the world, which pretends that every
//! agent does as it is told.
//!
//! Decides nothing of its own: it runs `reconcile`, moves the time on to whatever is due next, and watches.
//! Programs are taken to start at once and to run for ever; that one fails is not foreseen. Those of a
//! job's run that begins with the change end well at once; what goes on of other runs goes on, and no
//! schedule is due.

mod story;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_model::command::{Op, REPORTS_MAX, StatusReport};
use swarm_model::event::{Event, Subject};
use swarm_model::id::{IdSource, NodeId, ServiceId, TaskId};
use swarm_model::meta::{Revision, Term};
use swarm_model::outcome::{Outcome, Rejection};
use swarm_model::plan::Plan;
use swarm_model::task::{Task, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use crate::facts::Host;
use crate::reconcile::reconcile;
use crate::scope::Scope;

pub use story::{Place, RunForecast, ServiceForecast, Step, StepKind};
use trace::Trace;

/// The most rounds of one forecast.
pub const ROUNDS_MAX: u32 = 20_000;
/// The most steps that a forecast tells.
pub const STEPS_MAX: usize = 5_000;

/// A copy of everything that can be changed without consequence.
pub trait World {
    /// How it stands.
    fn view(&self) -> &View;

    /// Changes it, at the next revision and in term zero.
    fn apply(&mut self, now: Timestamp, op: Op) -> (Outcome, Vec<Event>);

    /// Whether the forecast has taken long enough: it is then told as far as it goes.
    fn enough(&self) -> bool {
        false
    }
}

/// What would become of a change if nothing else happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Forecast {
    /// What it was made from: what `if_revision` takes.
    pub revision: Revision,
    /// Whether everything is at rest at its end; otherwise there was too much to look at.
    pub finished: bool,
    /// From the change to its last step, with tasks that start at once.
    pub lasts_ms: u64,
    /// The services that the change concerns.
    pub services: Vec<ServiceForecast>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// Further steps, which are counted in `services` alone.
    pub left_out: u64,
}

/// Foretells what follows when `ops` are applied at `now`, one after the other, and nothing else
/// happens. The same arguments give the same forecast.
///
/// # Errors
/// What the first op that cannot be applied is refused for.
pub fn forecast(
    world: &mut impl World,
    ops: Vec<Op>,
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Result<Forecast, Rejection> {
    let before = world.view().clone();
    let mut run = Run {
        trace: Trace::new(before, now),
        world,
        now,
        scope: Scope::everything(),
        later: BTreeSet::new(),
        restless: BTreeSet::new(),
    };
    for op in ops {
        run.trace.note_subject(&op);
        run.apply(op)?;
    }
    run.trace.asked = run.world.view().clone();
    let tasks = run.trace.asked.tasks.values();
    run.restless = tasks.filter(|task| behave(task, false).is_some()).map(|task| task.id).collect();
    let finished = run.until_rest(ids);
    Ok(story::tell(&run.trace, run.world.view(), finished))
}

/// A forecast being made.
struct Run<'w, W> {
    world: &'w mut W,
    trace: Trace,
    now: Timestamp,
    /// What to look at in the next round.
    scope: Scope,
    /// The same, when its time has come.
    later: BTreeSet<(Timestamp, ServiceId)>,
    /// Tasks that their agents may have something to do for.
    restless: BTreeSet<TaskId>,
}

impl<W: World> Run<'_, W> {
    fn apply(&mut self, op: Op) -> Outcome {
        let (outcome, events) = self.world.apply(self.now, op);
        for event in &events {
            self.scope.extend(event);
            if let Subject::Task { task, .. } = event.subject {
                self.restless.insert(task);
                self.trace.note(task, self.world.view().tasks.get(&task), self.now);
            }
        }
        outcome
    }

    /// Rounds and agents until nothing happens any more; whether it came to that.
    fn until_rest(&mut self, ids: &mut dyn IdSource) -> bool {
        for _ in 0..ROUNDS_MAX {
            if self.world.enough() {
                return false;
            }
            self.trace.rounds += 1;
            let planned = self.round(ids);
            if self.agents() || planned || !self.scope.is_empty() {
                continue;
            }
            let Some((at, _)) = self.later.first() else { return true };
            self.now = (*at).max(self.now.after(Duration::from_millis(1)));
            while let Some(due) = self.later.first().copied().filter(|(at, _)| *at <= self.now) {
                self.later.remove(&due);
                self.scope.services.insert(due.1);
            }
        }
        false
    }

    /// One round of the leader; whether it changed anything.
    fn round(&mut self, ids: &mut dyn IdSource) -> bool {
        if self.scope.is_empty() {
            return false;
        }
        let scope = Scope { still: true, ..std::mem::take(&mut self.scope) };
        let view = self.world.view();
        let base = view.revision;
        let Plan { changes, later, left } = reconcile(view, &scope, self.now, ids);
        let later = later.into_iter().filter(|(_, at)| *at > self.now);
        self.later.extend(later.map(|(service, at)| (at, service)));
        if changes.is_empty() {
            return false;
        }
        self.scope.services.extend(left);
        // A plan is taken in its own term.
        let _done = self.apply(Op::ApplyPlan { term: Term::default(), base, changes });
        true
    }

    /// Every agent that is heard does one thing for each of its tasks; whether any did.
    fn agents(&mut self) -> bool {
        let mut reports: BTreeMap<NodeId, Vec<StatusReport>> = BTreeMap::new();
        let view = self.world.view();
        for id in std::mem::take(&mut self.restless) {
            let Some(task) = view.tasks.get(&id) else { continue };
            let node = task.node.and_then(|node| view.nodes.get(&node));
            let Some(Host::Alive(node)) = node.map(|node| Host::member(node)) else { continue };
            let ends = self.trace.begins_run(task);
            let Some(state) = behave(task, ends) else { continue };
            let status = TaskStatus::new(state, self.now, "as it would be");
            reports.entry(node.id).or_default().push(StatusReport { task: id, status });
        }
        let worked = !reports.is_empty();
        for (node, reports) in reports {
            for some in reports.chunks(REPORTS_MAX) {
                // Reports about known tasks are never refused.
                let _done = self.apply(Op::ReportStatus { node, reports: some.to_vec() });
            }
        }
        worked
    }
}

/// What an agent that does as it is told sees next of `task`; with `ends` its program does when it runs.
fn behave(task: &Task, ends: bool) -> Option<ObservedState> {
    let state = task.status.state;
    let next = match task.desired {
        DesiredState::Ready => ObservedState::Ready,
        DesiredState::Running if ends && state == ObservedState::Running => ObservedState::Complete,
        DesiredState::Running => ObservedState::Running,
        DesiredState::Shutdown | DesiredState::Remove => ObservedState::Shutdown,
    };
    (!state.is_terminal() && state < next).then_some(next)
}
