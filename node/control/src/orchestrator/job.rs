//! Jobs: the tasks that the runs in progress still need, and the end of runs that cannot succeed.
//!
//! What succeeded is counted where ends are recorded, not here. A job's task is never replaced for the sake of
//! a template or a drain: it runs to its end, unless its node is lost or it may not stay where it is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::job::{Run, RunPhase};
use swarm_model::restart::{RestartCondition, RestartPolicy};
use swarm_model::schedule::Overlap;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};

use super::need::{Need, Seed};
use super::slot::{self, Next, SlotPlan, heir, runs};
use super::{Round, by_slot, history_limit, update};
use crate::draft::CHANGES_MAX;
use crate::enforcer::{Stance, stance};
use crate::facts::{Facts, Host, ended_by_itself, recency};
use crate::outlook::why_not;
use crate::restart::{self, Verdict};
use crate::schedule::{Due, Schedule};
use crate::scheduler::Wish;

/// A run has at most so many tasks that wait for a place: with room for few, a job of 100,000 is not
/// created at once only to wait.
const WAITING_MAX: usize = 256;
/// Ended tasks of a job that stay, for each one that stays of a slot by the cluster's settings.
const KEPT_FACTOR: usize = 40;

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
    let mut ending = false;
    for (slot, tasks) in by_slot(tasks) {
        let run = slot.run().and_then(|number| known.get(&number));
        match run.filter(|run| run.index_of(slot).is_some()) {
            None => round.bury(tasks),
            Some(run) => match active.get_mut(&run.number) {
                Some(slots) => slots.push((slot, tasks)),
                None => {
                    ending |= tasks.iter().any(|task| still_there(round.facts, task));
                    round.act(tasks, finished(round.service, slot, tasks), Wish::default());
                }
            },
        }
    }
    let mut needed = BTreeSet::new();
    for (number, slots) in active {
        if let Some(run) = known.get(&number) {
            plan_run(round, run, slots, ending, &mut needed);
        }
    }
    trim(round, tasks, &needed);
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

/// Whether `task` may still run where somebody hears of it.
fn still_there(facts: Facts<'_>, task: &Task) -> bool {
    let alive = match facts.host(task.node) {
        Host::Alive(_) => true,
        Host::Unplaced | Host::Gone | Host::Down(_) => false,
    };
    alive && task.holds_node()
}

/// A slot that needs nothing any more: what is there ends.
fn finished<'a>(service: &'a Service, slot: Slot, tasks: &[&'a Task]) -> SlotPlan<'a> {
    let stop = tasks.iter().copied().filter(|task| task.is_active()).collect();
    SlotPlan { stop, ..SlotPlan::empty(service, slot) }
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
            round.act(tasks, finished(round.service, slot, tasks), Wish::default());
            continue;
        }
        taken += usize::from(is_taken(tasks));
        needed.insert(slot);
        plans.push((tasks, assess(round.facts, round.service, slot, tasks)));
    }
    if let Some(phase) = end_of(round, run, &plans) {
        for (tasks, plan) in plans {
            round.act(tasks, finished(round.service, plan.slot, tasks), Wish::default());
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

/// Whether the slot's node is no member any more.
fn is_gone(facts: Facts<'_>, slot: Slot) -> bool {
    match slot {
        Slot::JobNode { node, .. } => !facts.view.nodes.contains_key(&node),
        Slot::Job { .. } | Slot::Replica(_) | Slot::Node(_) => false,
    }
}

fn wish(slot: Slot) -> Wish {
    let only = match slot {
        Slot::JobNode { node, .. } => Some(node),
        Slot::Job { .. } | Slot::Replica(_) | Slot::Node(_) => None,
    };
    Wish { only, avoid: None }
}

/// How the run ends now, if it does; else asks to be woken at its deadline.
fn end_of(
    round: &mut Round<'_, '_>,
    run: &Run,
    plans: &[(&[&Task], SlotPlan<'_>)],
) -> Option<RunPhase> {
    let failed = plans.iter().find(|(_, plan)| {
        let Next::Finished { failed, .. } = plan.next else { return false };
        failed
    });
    if let Some((tasks, plan)) = failed {
        let last = tasks.iter().max_by_key(|task| recency(task));
        let said = last.map(|task| format!(": {}", update::end(task))).unwrap_or_default();
        let why = why_not(&policy(round.service));
        return Some(RunPhase::Failed { reason: format!("task {}{said}; {why}", plan.slot) });
    }
    if run.open_slots().all(|(_, slot)| is_gone(round.facts, slot)) {
        // The last success ends a run by itself: this one waits for nodes that were removed.
        let none = run.succeeded.count() == 0;
        let reason = "all its nodes were removed from the cluster".to_owned();
        return Some(if none { RunPhase::Failed { reason } } else { RunPhase::Complete });
    }
    let deadline = round.service.spec.job.deadline_ms.filter(|_| !round.facts.still)?;
    let deadline = Duration::from_millis(deadline);
    let (due, now) = (run.started_at.after(deadline), round.facts.now);
    if due <= now {
        let left = run.completions - run.succeeded.count();
        let reason = format!("its deadline is over and {left} of {} are left", run.completions);
        return Some(RunPhase::Failed { reason });
    }
    // A beginning in the future was noted by another clock.
    round.wake(due.min(now.after(deadline)));
    None
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

/// Decides for one slot that has yet to succeed.
fn assess<'a>(
    facts: Facts<'a>,
    service: &'a Service,
    slot: Slot,
    tasks: &[&'a Task],
) -> SlotPlan<'a> {
    let mut plan = SlotPlan::empty(service, slot);
    for task in tasks.iter().copied().filter(|task| task.is_active()) {
        match stance(facts, service, task) {
            // Nobody asks tasks of jobs to move.
            Stance::Good | Stance::Evicted { .. } => plan.offer(task),
            // It was made from what the job was; one without a place is made anew.
            Stance::Outdated if task.node.is_some() => plan.offer(task),
            Stance::Drained { deadline } => {
                let expired = deadline.is_some_and(|at| at <= facts.now);
                if runs(task) && !expired { plan.offer(task) } else { plan.stop.push(task) }
            }
            Stance::Held => plan.held = true,
            Stance::Outdated | Stance::Forbidden | Stance::Lost => plan.stop.push(task),
        }
    }
    if plan.keep.is_none() && !plan.held {
        plan.next = next(facts, service, tasks, &plan.stop);
    }
    plan
}

/// What a slot without a task needs. Never a second one beside one that may still run where it is heard.
fn next(facts: Facts<'_>, service: &Service, tasks: &[&Task], stop: &[&Task]) -> Next {
    let asked = tasks.iter().any(|task| slot::is_stopping(facts, task));
    if asked || stop.iter().any(|task| still_there(facts, task)) {
        return Next::Wait;
    }
    let create = |seed| Next::Create { seed, voluntary: false };
    let kept = tasks.iter().filter(|task| task.desired != DesiredState::Remove);
    let Some(last) = kept.max_by_key(|task| recency(task)) else { return create(Seed::default()) };
    if !ended_by_itself(last) || last.status.state == ObservedState::Orphaned {
        return create(heir(last));
    }
    match restart::after_end(last, &policy(service), facts.now) {
        Verdict::Restart { record, not_before } => {
            let rejected = last.status.state == ObservedState::Rejected;
            create(Seed { record, not_before, avoid: last.node.filter(|_| rejected) })
        }
        Verdict::Finished { failed: true } => Next::Finished { failed: true, under: None },
        // It counted for nothing: its run had not begun, or another had its number.
        Verdict::Finished { failed: false } => create(Seed::default()),
    }
}

/// Forgets the oldest ended tasks of all runs, but for the newest one of each slot in `needed`, which says
/// how often it was tried.
fn trim(round: &mut Round<'_, '_>, tasks: &[&Task], needed: &BTreeSet<Slot>) {
    let limit = history_limit(round.facts.view);
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(KEPT_FACTOR);
    if tasks.len() <= most {
        return;
    }
    let mut ended: Vec<&Task> = Vec::new();
    for (slot, tasks) in by_slot(tasks) {
        let gone = tasks.iter().copied().filter(|task| {
            round.draft.has_ended(task)
                && task.desired < DesiredState::Remove
                && !round.draft.has_touched(task)
        });
        let newest = tasks.iter().filter(|_| needed.contains(&slot)).max_by_key(|it| recency(it));
        let newest = newest.map(|task| task.id);
        ended.extend(gone.filter(|task| Some(task.id) != newest));
    }
    if ended.len() > most {
        ended.sort_unstable_by_key(|task| Reverse(recency(task)));
        ended[most..].iter().for_each(|task| round.draft.remove(task));
    }
}
