//! One round: the view in, a plan out.
//!
//! First every service in scope says what ends, what changes and which tasks it needs, then all
//! needs are placed: tasks that wait go before new ones.

use std::collections::BTreeSet;

use swarm_model::id::IdSource;
use swarm_model::plan::Plan;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use crate::draft::Draft;
use crate::facts::Facts;
use crate::lifecycle;
use crate::orchestrator::{self, Need, Needs};
use crate::scheduler::Scheduler;
use crate::scope::Scope;
use crate::survey::Survey;

/// Decides what has to change. An empty plan means that all is as it should be, or that the
/// cluster waits for nodes, for the time in `wake_at`, or for something to fit.
///
/// A change may be refused when its object changed meanwhile; the next round decides it again.
pub fn reconcile(view: &View, scope: &Scope, now: Timestamp, ids: &mut dyn IdSource) -> Plan {
    let facts = Facts { view, now };
    let mut draft = Draft::default();
    let survey = Survey::new(facts, scope, &mut draft);
    for task in &survey.strays {
        lifecycle::bury(facts, task, &mut draft);
    }
    let mut needs = Needs::default();
    for id in &survey.services {
        let Some(service) = view.services.get(id) else { continue };
        let tasks: Vec<&Task> = view.tasks_of(*id).map(AsRef::as_ref).collect();
        orchestrator::plan_service(facts, service, &tasks, &mut needs, &mut draft);
        if draft.is_full() {
            break;
        }
    }
    let mut scheduler = Scheduler::new(facts, survey.nodes);
    place(needs, &mut scheduler, ids, &mut draft);
    draft.into_plan(now)
}

/// Places what is needed, oldest waiting task first, then new tasks; reasons come last.
fn place<'a>(
    needs: Needs<'a>,
    scheduler: &mut Scheduler<'a>,
    ids: &mut dyn IdSource,
    draft: &mut Draft,
) {
    let Needs { mut waiting, mut new } = needs;
    waiting.sort_by_key(|(task, _)| (task.meta.created_at, task.id));
    let mut started = BTreeSet::new();
    waiting.retain(|(task, need)| match scheduler.place(need.service, &need.wish) {
        Ok(node) => {
            started.insert(need.service.id);
            draft.assign(task, node);
            false
        }
        Err(_reason) => {
            make_room(need, scheduler, draft);
            true
        }
    });
    new.sort_by_key(|(_, need)| need.voluntary);
    for (seed, need) in new {
        if need.voluntary && started.contains(&need.service.id) {
            continue;
        }
        if draft.is_full() {
            break;
        }
        let placed = scheduler.place(need.service, &need.wish);
        let task = seed.into_task(need.service, need.slot, placed.as_ref(), scheduler.now(), ids);
        if let Some(until) = task.not_before {
            draft.wake(until);
        }
        draft.create(task);
        for ended in &need.replaced {
            draft.stop(ended);
        }
        if placed.is_ok() {
            started.insert(need.service.id);
        } else {
            make_room(&need, scheduler, draft);
        }
    }
    for (task, need) in waiting {
        let reason = scheduler.refusal(need.service, &need.wish);
        orchestrator::say_why_waiting(task, &reason, scheduler.now(), draft);
    }
}

/// Ends the task that the needed one replaces, though its replacement has no place yet, where
/// that helps or must be.
fn make_room(need: &Need<'_>, scheduler: &Scheduler<'_>, draft: &mut Draft) {
    if let Some(old) = &need.old
        && old.yields(need.service, scheduler)
    {
        draft.stop(old.task);
    }
}
