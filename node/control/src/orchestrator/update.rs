//! The rolling update: which slots with a running task of an older template are replaced now, and what
//! follows when new tasks fail.
//!
//! Keeps no state: how far each slot is, is read off its tasks, and how far the whole is, off the
//! service; so any leader goes on with it. What is found due (a pause, a rollback, the end) becomes a
//! change of the service, guarded by its version, and is not found due again.

use std::time::Duration;

use swarm_model::meta::Revision;
use swarm_model::restart::RestartCondition;
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::update::{
    Canary, FailureAction, Order, UpdateKind, UpdatePhase, UpdatePolicy, UpdateState, UpdateStep,
};

use super::Round;
use super::slot::{self, Next, SlotPlan};
use crate::enforcer::Stance;
use crate::facts::{Facts, is_current, recency};

/// Slots replaced at a time where no policy says otherwise: stragglers of an update that is over, and
/// updates from before there were policies.
const PARALLELISM: usize = 1;

/// A leader that has led so long has heard of every node what happened there before, or counts it as
/// down.
const HEARD_AFTER: Duration = Duration::from_secs(3);

/// One slot in its turn: its tasks and what was decided for it.
#[derive(Debug)]
pub(super) struct Seat<'p, 'a> {
    pub(super) tasks: &'p [&'a Task],
    pub(super) plan: &'p mut SlotPlan<'a>,
}

/// Wanted slots without any task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Missing {
    /// All of them.
    pub(super) all: usize,
    /// Those that can have one now: in the others the last task is still ending.
    pub(super) open: usize,
}

/// Whether the round goes on with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steering {
    /// It does.
    GoOn {
        /// So many slots that have no task yet have their turn in the update at once.
        fresh: usize,
    },
    /// The service has another template by this plan: nothing can be decided before the next round.
    Halt,
}

/// How far one slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A task of an older template serves it, and nothing was done about it yet.
    Old,
    /// Its new task is on its way, or has to prove itself.
    Moving {
        /// When to look again though nothing happens.
        until: Option<Timestamp>,
        /// Whether only the delay before the next slot's turn runs.
        proven: bool,
    },
    /// It is done, or nothing can be done about it.
    Done,
    /// Its new task ended too early, or does not come to run.
    Failed,
}

/// The rules in force for `service`: a rollback's while it goes back.
fn policy(service: &Service) -> &UpdatePolicy {
    match &service.update {
        Some(UpdateState { kind: UpdateKind::Rollback, phase, .. })
            if *phase != UpdatePhase::Completed =>
        {
            &service.spec.rollback
        }
        Some(_) | None => &service.spec.update,
    }
}

/// Which task of a slot goes first when it is replaced; `None` decides by what fits.
pub(crate) fn order(service: &Service) -> Option<Order> {
    policy(service).order
}

/// Whether replacements are made by the rules of an update, which takes seats.
pub(crate) fn is_rolling(service: &Service) -> bool {
    service.update.as_ref().is_some_and(|update| update.phase == UpdatePhase::Rolling)
}

/// Whether nothing more may be replaced until somebody decides.
pub(crate) fn is_paused(service: &Service) -> bool {
    service.update.as_ref().is_some_and(|update| update.phase == UpdatePhase::Paused)
}

/// The update under which the slot of `task` failed, which was made from the current template and
/// ended by itself: its predecessors' failure counts on, and its own does when it came too early.
pub(super) fn failed_under(service: &Service, task: &Task) -> Option<Revision> {
    let update = service.update.as_ref()?;
    let id = update.id;
    if task.restart.failed_update == Some(id) {
        return Some(id);
    }
    let ended_well = task.status.state == ObservedState::Complete
        && task.template.restart_policy.condition != RestartCondition::Any;
    let monitor = Duration::from_millis(policy(service).monitor_ms);
    // Leaders may have noted the end late, and clocks of nodes may be wrong: the shorter one counts.
    let ended_at = task.meta.updated_at.min(task.status.since);
    let early = task.ran_at.is_none_or(|ran_at| ended_at.since(ran_at) < monitor);
    (update.is_open() && task.update == Some(id) && !ended_well && early).then_some(id)
}

/// When a running task that was made under the service's update has run for its monitor time; `None`
/// when it has, or nothing is asked of it.
pub(super) fn unproven_until(
    facts: Facts<'_>,
    service: &Service,
    task: &Task,
) -> Option<Timestamp> {
    let update = service.update.as_ref().filter(|update| task.update == Some(update.id))?;
    let monitor = Duration::from_millis(policy(service).monitor_ms);
    let open = update.is_open() || task.restart.failed_update == Some(update.id);
    task.ran_at.filter(|_| open).and_then(|ran_at| proven_at(facts, ran_at, monitor))
}

/// When what runs since `ran_at` has proven itself, if that lies ahead. A new leader has to hear first
/// whether it still runs.
fn proven_at(facts: Facts<'_>, ran_at: Timestamp, monitor: Duration) -> Option<Timestamp> {
    let before = ran_at < facts.led_since;
    let heard = ahead(facts.led_since, HEARD_AFTER, facts.now).filter(|_| before);
    ahead(ran_at, monitor, facts.now).max(heard)
}

/// The end of `span` from `since` on, if it lies ahead. One that lies further ahead than it was set has
/// passed: another clock set it.
fn ahead(since: Timestamp, span: Duration, now: Timestamp) -> Option<Timestamp> {
    Some(since.after(span)).filter(|at| *at > now && at.since(now) <= span)
}

/// Decides which voluntary replacements start now, puts off all others, and takes the update a step on
/// when one is due.
pub(super) fn steer<'a>(
    round: &mut Round<'a, '_>,
    mut seats: Vec<Seat<'_, 'a>>,
    missing: Missing,
) -> Steering {
    let service = round.service;
    // What is stopped anyway counts before anybody asks what else may be.
    for stopped in seats.iter().flat_map(|seat| &seat.plan.stop) {
        round.draft.expect_end(stopped);
    }
    let plans = seats.iter_mut().map(|seat| &mut *seat.plan);
    let Some(update) = &service.update else {
        allow(plans, PARALLELISM);
        return Steering::GoOn { fresh: 0 };
    };
    match update.phase {
        UpdatePhase::Rolling => {}
        UpdatePhase::Paused => {
            allow(plans, 0);
            return Steering::GoOn { fresh: 0 };
        }
        UpdatePhase::Completed => {
            allow(plans, PARALLELISM);
            return Steering::GoOn { fresh: 0 };
        }
    }
    let count = tally(round, update, &seats);
    let all = seats.len() + missing.all;
    let permille = usize::from(policy(service).max_failure_permille);
    if count.failed.len() * 1000 > permille * all {
        let reason = reason(service, &seats, &count.failed, all);
        match action(service, update) {
            FailureAction::Continue => {}
            FailureAction::Pause => {
                round.draft.step_update(service, UpdateStep::Pause { reason });
                allow(seats.iter_mut().map(|seat| &mut *seat.plan), 0);
                return Steering::GoOn { fresh: 0 };
            }
            FailureAction::Rollback => {
                round.draft.step_update(service, UpdateStep::RollBack { reason });
                return Steering::Halt;
            }
        }
    }
    if count.old == 0 && count.unproven == 0 && missing.all == 0 {
        let reason = match count.failed.len() {
            0 => String::new(),
            failed => format!("{failed} of {all} tasks failed"),
        };
        round.draft.step_update(service, UpdateStep::Complete { reason });
        // From here on nothing is made as before.
        for Seat { plan, .. } in seats {
            if let Some(turn) = plan.turn.take() {
                *plan = *turn;
            }
        }
        return Steering::GoOn { fresh: 0 };
    }
    let free = free_seats(round, update, &count, all);
    Steering::GoOn { fresh: seat(round, seats, missing.open, free) }
}

/// How far the slots of an update are, counted.
#[derive(Debug, Default)]
struct Tally {
    /// Those that had no turn yet.
    old: usize,
    /// Those in change, which take a seat.
    moving: usize,
    /// Of these, those that have to prove themselves yet.
    unproven: usize,
    /// Those that had their turn, however it ended.
    turned: usize,
    /// Where in the list those are that failed.
    failed: Vec<usize>,
}

fn tally(round: &mut Round<'_, '_>, update: &UpdateState, seats: &[Seat<'_, '_>]) -> Tally {
    let mut count = Tally::default();
    for (at, seat) in seats.iter().enumerate() {
        match stage(round.facts, round.service, update, seat.plan) {
            Stage::Old => count.old += 1,
            // Where nothing can be done no slot has a turn.
            Stage::Done if seat.plan.next == Next::Nothing && seat.plan.keep.is_none() => {}
            Stage::Done => count.turned += usize::from(seat.plan.turn.is_none()),
            Stage::Failed => count.failed.push(at),
            Stage::Moving { until, proven } => {
                count.moving += 1;
                count.unproven += usize::from(!proven);
                until.into_iter().for_each(|at| round.wake(at));
            }
        }
    }
    count.turned += count.moving + count.failed.len();
    count
}

/// How many more slots may be in change; finds a canary that has proven itself.
fn free_seats(round: &mut Round<'_, '_>, update: &UpdateState, count: &Tally, all: usize) -> usize {
    let service = round.service;
    let policy = policy(service);
    let most = match policy.parallelism {
        0 => usize::MAX,
        most => usize::try_from(most).unwrap_or(usize::MAX),
    };
    let free = most.saturating_sub(count.moving);
    let Some(canary) = canary_of(service, update, all) else { return free };
    if update.canary == Some(Canary::Trying) && count.turned >= canary && count.unproven == 0 {
        let promoted = policy.auto_promote && count.failed.is_empty();
        round.draft.step_update(service, UpdateStep::Prove { promoted });
        if promoted {
            return free;
        }
    }
    free.min(canary.saturating_sub(count.turned))
}

/// How many of `all` slots have their turn before somebody promotes the update; `None` when all have.
fn canary_of(service: &Service, update: &UpdateState, all: usize) -> Option<usize> {
    match update.canary? {
        Canary::Trying | Canary::Waiting => {
            policy(service).canary.map(|share| share.of(all).clamp(1, all.max(1)))
        }
        Canary::Promoted => None,
    }
}

/// Gives the `free` seats to the slots that want one: first those where nothing runs, then by their
/// numbers. The others go on with what they have, made as before. Gives how many of the `missing` slots,
/// which have no task, have one.
fn seat<'a>(
    round: &mut Round<'a, '_>,
    seats: Vec<Seat<'_, 'a>>,
    missing: usize,
    mut free: usize,
) -> usize {
    let mut wanting: Vec<_> = seats.into_iter().filter(|seat| wants_seat(seat.plan)).collect();
    wanting.sort_by_key(|seat| seat.plan.is_served());
    let mut fresh = None;
    for Seat { plan, .. } in wanting {
        if plan.is_served() && fresh.is_none() {
            fresh = Some(missing.min(free));
            free -= missing.min(free);
        }
        if free == 0 {
            if plan.turn.is_none() {
                plan.next = Next::Nothing;
            }
            continue;
        }
        let turn = plan.turn.as_deref().unwrap_or(plan);
        let outdated = turn.old.filter(|old| old.stance == Stance::Outdated);
        let stops = outdated.filter(|_| order(round.service) == Some(Order::StopFirst));
        let held_back = stops.is_some_and(|old| {
            !round.draft.give_way_within(round.facts, round.service, old.task, &turn.stop)
        });
        if held_back {
            if plan.turn.is_none() {
                plan.next = Next::Nothing;
            }
            continue;
        }
        free -= 1;
        if let Some(turn) = plan.turn.take() {
            turn.stop.iter().for_each(|stopped| round.draft.expect_end(stopped));
            *plan = *turn;
        }
        match stops {
            Some(_) => plan.next = Next::Wait,
            None => plan.seated = true,
        }
    }
    fresh.unwrap_or(missing.min(free))
}

/// Whether a slot waits for its turn: nothing was done about it yet.
fn wants_seat(plan: &SlotPlan<'_>) -> bool {
    match (plan.turn.as_ref().map(|turn| turn.next), plan.next) {
        (Some(Next::Create { .. }), _) | (None, Next::Create { voluntary: true, .. }) => true,
        (Some(Next::Nothing | Next::Wait | Next::Finished { .. }) | None, _) => false,
    }
}

/// How far a slot is.
fn stage(facts: Facts<'_>, service: &Service, update: &UpdateState, plan: &SlotPlan<'_>) -> Stage {
    let moving = Stage::Moving { until: None, proven: false };
    if wants_seat(plan) {
        return Stage::Old;
    }
    let plan = plan.turn.as_deref().unwrap_or(plan);
    let Some(keep) = plan.keep else {
        return match plan.next {
            Next::Nothing => Stage::Done,
            Next::Wait => moving,
            Next::Finished { under, .. } if under == Some(update.id) => Stage::Failed,
            Next::Finished { .. } => Stage::Done,
            Next::Create { seed, .. } if seed.record.failed_update == Some(update.id) => {
                Stage::Failed
            }
            Next::Create { .. } => moving,
        };
    };
    if keep.restart.failed_update == Some(update.id) {
        return Stage::Failed;
    }
    let (policy, now) = (policy(service), facts.now);
    let own = keep.update == Some(update.id);
    if slot::runs(keep) {
        // What ran before this update has proven itself.
        let Some(ran_at) = keep.ran_at.filter(|_| own) else { return Stage::Done };
        let monitor = Duration::from_millis(policy.monitor_ms);
        let turn = monitor.saturating_add(Duration::from_millis(policy.delay_ms));
        return match (proven_at(facts, ran_at, monitor), ahead(ran_at, turn, now)) {
            (Some(at), _) => Stage::Moving { until: Some(at), proven: false },
            (None, Some(at)) => Stage::Moving { until: Some(at), proven: true },
            (None, None) => Stage::Done,
        };
    }
    let made_at = if own { keep.meta.created_at } else { update.started_at };
    let begun = keep.not_before.map_or(made_at, |at| at.max(made_at));
    let timeout = Duration::from_millis(policy.start_timeout_ms);
    let heard = ahead(facts.led_since, HEARD_AFTER, now).filter(|_| begun < facts.led_since);
    let due = begun.after(timeout).max(heard.unwrap_or_default());
    if due <= now {
        return Stage::Failed;
    }
    Stage::Moving { until: Some(due.min(now.after(timeout))), proven: false }
}

/// What follows too many failures. A rollback is never rolled back.
fn action(service: &Service, update: &UpdateState) -> FailureAction {
    let asked = policy(service).failure_action;
    match update.kind {
        UpdateKind::Update => asked.unwrap_or(FailureAction::Rollback),
        UpdateKind::Rollback => match asked {
            Some(FailureAction::Continue) => FailureAction::Continue,
            Some(FailureAction::Pause | FailureAction::Rollback) | None => FailureAction::Pause,
        },
    }
}

/// What failed, in words, with what one of the tasks said.
fn reason(service: &Service, seats: &[Seat<'_, '_>], failed: &[usize], all: usize) -> String {
    let count = failed.len();
    let sample = failed.first().and_then(|at| seats.get(*at));
    let said = sample.map_or_else(String::new, |seat| {
        let ended = |task: &&&Task| {
            let state = task.status.state;
            let own = state.is_terminal() && state != ObservedState::Shutdown;
            own && is_current(task, service)
        };
        let last = seat.tasks.iter().filter(ended).max_by_key(|task| recency(task));
        let slot = seat.plan.slot;
        match last {
            Some(task) => format!("; slot {slot}: {}", end(task)),
            None => format!("; slot {slot}: not running in time{}", waits(seat.plan)),
        }
    });
    format!("{count} of {all} tasks failed{said}")
}

/// How `task` ended, in words.
pub(super) fn end(task: &Task) -> String {
    let status = &task.status;
    let exit = status.exit.and_then(|exit| match (exit.code, exit.signal) {
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, signal) => signal.map(|signal| format!("signal {signal}")),
    });
    match exit {
        _ if !status.error.is_empty() => status.error.clone(),
        Some(exit) => exit,
        None => format!("{} before its time", status.state.to_string().to_lowercase()),
    }
}

fn waits(plan: &SlotPlan<'_>) -> String {
    let said = plan.keep.map(|task| task.status.error.as_str()).unwrap_or_default();
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

/// Puts off all voluntary replacements but `most`, less those in progress.
fn allow<'p, 'a: 'p>(plans: impl Iterator<Item = &'p mut SlotPlan<'a>>, most: usize) {
    let mut in_progress = 0;
    let mut candidates = Vec::new();
    for plan in plans {
        in_progress += usize::from(plan.in_progress());
        if let Next::Create { voluntary: true, .. } = plan.next {
            candidates.push(&mut plan.next);
        }
    }
    for next in candidates.into_iter().skip(most.saturating_sub(in_progress)) {
        *next = Next::Nothing;
    }
}
