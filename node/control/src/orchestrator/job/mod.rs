//! Jobs: the tasks that the runs in progress still need, and the end of runs that cannot succeed.
//!
//! What succeeded is counted where ends are recorded, not here. A job's task is never replaced for the sake of
//! a template or a drain: it runs to its end, unless its node is lost or it may not stay where it is.

mod attempt;
mod end;
mod history;

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::job::Run;
use swarm_model::restart::{RestartCondition, RestartPolicy};
use swarm_model::schedule::Overlap;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::view::View;

use self::attempt::{assess, still_there};
use self::end::{end_of, is_gone};
use super::need::{Need, Seed};
use super::slot::{Next, SlotPlan};
use super::{Round, by_slot};
use crate::draft::CHANGES_MAX;
use crate::schedule::{Due, Schedule};
use crate::scheduler::Wish;

/// A run has at most so many tasks that wait for a place: with room for few, a job of 100,000 is not
/// created at once only to wait.
const WAITING_MAX: usize = 256;

/// A slot of a run and its tasks.
type Occupied<'t, 'a> = (Slot, &'t [&'a Task]);

/// The rules for ends of a job's tasks: what ended well is never started again.
pub(crate) fn policy(service: &Service) -> RestartPolicy {
    let given = service.template.restart_policy;
    let condition = match given.condition {
        RestartCondition::Any if service.spec.mode.is_job() => RestartCondition::OnFailure,
        as_said => as_said,
    };
    RestartPolicy { condition, ..given }
}

/// Decides for a job.
pub(super) fn plan<'a>(round: &mut Round<'a, '_>, tasks: &[&'a Task]) {
    let view = round.facts.view;
    if fire(round) {
        // Which runs there are is known in the next round, which follows at once.
        return;
    }
    let known: BTreeMap<u64, &Run> =
        view.runs_of(round.service.id).map(|run| (run.number, run.as_ref())).collect();
    let mut active: BTreeMap<u64, Vec<Occupied<'_, 'a>>> =
        known.values().filter(|run| run.is_active()).map(|run| (run.number, Vec::new())).collect();
    let ending = tasks.iter().any(|task| ends_for_next(view, task));
    for (slot, tasks) in by_slot(tasks) {
        let run = slot.run().and_then(|number| known.get(&number));
        match run.filter(|run| run.index_of(slot).is_some()) {
            None => round.bury(tasks),
            Some(run) => match active.get_mut(&run.number) {
                Some(slots) => slots.push((slot, tasks)),
                None => finish(round, slot, tasks),
            },
        }
    }
    let mut needed = BTreeSet::new();
    for (number, slots) in active {
        if let Some(run) = known.get(&number) {
            plan_run(round, run, slots, ending, &mut needed);
        }
    }
    history::trim(round, tasks, &needed);
}

/// Decides on what is due by the job's schedule; whether anything was.
fn fire(round: &mut Round<'_, '_>) -> bool {
    let service = round.service;
    let (Some(spec), Some(state)) = (&service.spec.schedule, service.schedule) else {
        return false;
    };
    if round.facts.still {
        return false;
    }
    // The API refuses zones that are not known.
    let Ok(schedule) = Schedule::new(spec) else { return false };
    let busy = round.facts.view.runs_of(service.id).any(|run| run.is_active());
    let Due { fire, cursor, next } = schedule.due(state, round.facts.now, busy);
    next.into_iter().for_each(|at| round.wake(at));
    if let Some(cursor) = cursor {
        round.draft.fire(service, state.cursor, cursor, fire);
    }
    cursor.is_some()
}

/// A slot that needs nothing any more: what is there ends.
fn finish<'a>(round: &mut Round<'a, '_>, slot: Slot, tasks: &[&'a Task]) {
    // Nearly all slots of a long job are like this one.
    if let [task] = tasks
        && task.status.state.is_terminal()
        && task.desired < DesiredState::Remove
    {
        return;
    }
    let stop = tasks.iter().copied().filter(|task| task.is_active()).collect();
    let plan = SlotPlan { stop, ..SlotPlan::empty(round.service, slot) };
    round.act(tasks, plan, Wish::default());
}

/// One run that goes on.
fn plan_run<'a>(
    round: &mut Round<'a, '_>,
    run: &Run,
    slots: Vec<Occupied<'_, 'a>>,
    ending: bool,
    needed: &mut BTreeSet<Slot>,
) {
    let mut plans = Vec::with_capacity(slots.len());
    let mut taken = 0;
    for (slot, tasks) in slots {
        let done = run.index_of(slot).is_some_and(|index| run.succeeded.contains(index));
        if done || is_gone(round.facts, slot) {
            finish(round, slot, tasks);
            continue;
        }
        taken += usize::from(is_taken(tasks));
        needed.insert(slot);
        plans.push((tasks, assess(round.facts, round.service, slot, tasks)));
    }
    if let Some(phase) = end_of(round, run, &plans) {
        for (tasks, plan) in plans {
            finish(round, plan.slot, tasks);
        }
        round.draft.end_run(round.service, run.number, phase);
        return;
    }
    // What was there before may still do the same work.
    let may_start = !ending || may_overlap(round.service);
    let mut free = if may_start { seats(round.service).saturating_sub(taken) } else { 0 };
    let mut waiting = 0;
    for (tasks, mut plan) in plans {
        waiting += usize::from(plan.keep.is_some_and(|keep| keep.node.is_none()));
        if let Next::Create { .. } = plan.next {
            let seated = is_taken(tasks);
            if may_start && (seated || free > 0) {
                free -= usize::from(!seated);
                waiting += 1;
            } else {
                plan.next = Next::Nothing;
            }
        }
        let wish = wish(plan.slot);
        round.act(tasks, plan, wish);
    }
    create_missing(round, run, needed, free.min(WAITING_MAX.saturating_sub(waiting)));
}

/// Whether `task` is of a run that has ended, remembered or not, and may still do its work.
fn ends_for_next(view: &View, task: &Task) -> bool {
    // Most tasks of a job have ended.
    if !still_there(view, task) {
        return false;
    }
    let number = task.slot.run();
    let run = number.and_then(|number| view.runs.get(&(task.service, number)));
    !run.is_some_and(|run| run.is_active() && run.index_of(task.slot).is_some())
}

/// The tasks of runs that have ended for whose end the runs of `service` wait.
pub fn held_up_by<'a>(view: &'a View, service: &Service) -> Vec<&'a Task> {
    if !service.spec.mode.is_job() || may_overlap(service) {
        return Vec::new();
    }
    let tasks = view.tasks_of(service.id).map(AsRef::as_ref);
    tasks.filter(|task| ends_for_next(view, task)).collect()
}

/// Whether tasks of one run may run beside those of another.
fn may_overlap(service: &Service) -> bool {
    service.spec.schedule.as_ref().is_some_and(|schedule| schedule.overlap == Overlap::Allow)
}

/// How many slots of one run may be taken at a time.
fn seats(service: &Service) -> usize {
    match service.spec.mode {
        ServiceMode::ReplicatedJob { max_concurrent, .. } if max_concurrent > 0 => {
            usize::try_from(max_concurrent).unwrap_or(usize::MAX)
        }
        ServiceMode::ReplicatedJob { .. }
        | ServiceMode::GlobalJob {}
        | ServiceMode::Replicated { .. }
        | ServiceMode::Global {} => usize::MAX,
    }
}

fn is_taken(tasks: &[&Task]) -> bool {
    tasks.iter().any(|task| task.takes_slot())
}

fn wish(slot: Slot) -> Wish {
    let only = match slot {
        Slot::JobNode { node, .. } => Some(node),
        Slot::Job { .. } | Slot::Replica(_) | Slot::Node(_) => None,
    };
    Wish { only, avoid: None }
}

/// Asks for tasks in the lowest slots where nothing was tried yet.
fn create_missing(round: &mut Round<'_, '_>, run: &Run, known: &BTreeSet<Slot>, most: usize) {
    let facts = round.facts;
    let open = run.open_slots().map(|(_, slot)| slot);
    let open = open.filter(|slot| !known.contains(slot) && !is_gone(facts, *slot));
    for slot in open.take(most) {
        if round.needs.new.len() >= CHANGES_MAX {
            round.draft.leave(round.service.id);
            break;
        }
        let need = Need {
            service: round.service,
            slot,
            wish: wish(slot),
            old: None,
            replaced: Vec::new(),
            voluntary: false,
            seated: false,
        };
        round.needs.new.push((Seed::default(), need));
    }
}
