//! From a service and its tasks to what ends, what changes and which tasks are needed.
//!
//! Chooses no nodes: needs are handed to the scheduler once every service was heard.

mod global;
pub(crate) mod job;
mod need;
mod replicated;
mod slot;
pub(crate) mod update;

use std::time::Duration;

use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use crate::draft::Draft;
use crate::facts::{Facts, ended_by_itself};
use crate::lifecycle;
use crate::reaper;
use crate::restart;
use crate::scheduler::Wish;

pub(crate) use need::{Need, Needs, Seed};
use slot::{Next, SlotPlan};

/// A waiting task's reason is written anew at most so often: it holds figures that change all the
/// time, and each text is a replicated write.
const REASON_EVERY: Duration = Duration::from_secs(5);

/// Decides for one service.
pub(crate) fn plan_service<'a>(
    facts: Facts<'a>,
    service: &'a Service,
    tasks: &[&'a Task],
    needs: &mut Needs<'a>,
    draft: &mut Draft,
) {
    if service.removing {
        lifecycle::remove_service(facts, service, tasks, draft);
        return;
    }
    let mut round = Round { facts, service, needs, draft };
    match service.spec.mode {
        ServiceMode::Replicated { replicas } => replicated::plan(&mut round, tasks, replicas),
        ServiceMode::Global {} => global::plan(&mut round, tasks),
        ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob {} => {
            job::plan(&mut round, tasks);
        }
    }
}

/// One service's turn: what it looks at and where its decisions go.
struct Round<'a, 'b> {
    facts: Facts<'a>,
    service: &'a Service,
    needs: &'b mut Needs<'a>,
    draft: &'b mut Draft,
}

impl<'a> Round<'a, '_> {
    /// Asks to look at the service again at `at`, should nothing happen before.
    fn wake(&mut self, at: Timestamp) {
        self.draft.wake(self.service.id, at);
    }

    /// Ends and forgets all tasks of a slot that is not wanted any more.
    fn bury(&mut self, tasks: &[&Task]) {
        for task in tasks {
            lifecycle::bury(self.facts, task, self.draft);
        }
    }

    /// Carries out what was decided for one slot.
    fn act(&mut self, tasks: &[&'a Task], plan: SlotPlan<'a>, wish: Wish) {
        for task in &plan.stop {
            lifecycle::give_up_lost(self.facts, task, self.draft);
            self.draft.stop(task);
        }
        for task in &plan.overdue {
            self.draft.give_way_within(self.facts, self.service, task, &[]);
        }
        for task in tasks {
            self.settle(task, plan.keep.is_some());
        }
        let limit = history_limit(self.facts.view);
        reaper::trim_history(tasks, plan.keep.is_some(), limit, self.draft);
        let mut need = Need {
            service: plan.service,
            slot: plan.slot,
            wish,
            old: plan.old,
            replaced: Vec::new(),
            voluntary: false,
            seated: plan.seated,
        };
        if let Some(keep) = plan.keep {
            if plan.old.is_some() {
                let proven = update::unproven_until(self.facts, self.service, keep);
                proven.into_iter().for_each(|at| self.wake(at));
            }
            let waits = restart::delayed_until(keep, self.facts.now).is_some();
            if keep.node.is_none() {
                self.needs.waiting.push((keep, need));
            } else if keep.desired == DesiredState::Ready && !waits {
                self.draft.desire(keep, DesiredState::Running);
            }
            return;
        }
        match plan.next {
            Next::Create { seed, voluntary } => {
                need.wish.avoid = seed.avoid;
                let moves_to = plan.old.and_then(|old| old.moves_to());
                need.wish.only = moves_to.or(need.wish.only);
                need.voluntary = voluntary;
                need.replaced.extend(tasks.iter().copied().filter(|task| ended_by_itself(task)));
                self.needs.new.push((seed, need));
            }
            Next::Nothing | Next::Wait | Next::Finished { .. } => {}
        }
    }

    /// What has to be done about one task of a slot that lives on.
    fn settle(&mut self, task: &Task, has_successor: bool) {
        if task.is_active() {
            return;
        }
        if task.desired == DesiredState::Remove {
            reaper::forget(self.facts, task, self.draft);
        } else if has_successor && ended_by_itself(task) {
            self.draft.stop(task);
        }
        lifecycle::give_up_lost(self.facts, task, self.draft);
    }
}

/// How many ended tasks of a slot stay.
fn history_limit(view: &View) -> u32 {
    let limit = view.cluster.as_ref().map(|cluster| cluster.spec.task_history_limit);
    limit.unwrap_or_else(|| swarm_model::cluster::ClusterSpec::default().task_history_limit)
}

/// The slots of `tasks`, which are ordered by slot.
fn by_slot<'t, 'a>(tasks: &'t [&'a Task]) -> impl Iterator<Item = (Slot, &'t [&'a Task])> {
    tasks
        .chunk_by(|left, right| left.slot == right.slot)
        .filter_map(|slot| slot.first().map(|task| (task.slot, slot)))
}

/// Says why `task` waits, if that is news and was not said a moment ago.
pub(crate) fn say_why_waiting(task: &Task, reason: &str, now: Timestamp, draft: &mut Draft) {
    if task.status.error == reason || draft.has_touched(task) {
        return;
    }
    let (said, again) = (task.meta.updated_at, task.meta.updated_at.after(REASON_EVERY));
    // What was said in the future was said by another clock.
    if said <= now && again > now && !task.status.error.is_empty() {
        draft.wake(task.service, again);
    } else {
        draft.explain(task, reason);
    }
}
