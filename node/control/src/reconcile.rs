//! One round: the view in, a plan out.
//!
//! First every service in scope says what ends, what changes and which tasks it needs, then all
//! needs are placed: the most important ones first, and tasks that wait before new ones.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::{IdSource, ServiceId};
use swarm_model::plan::Plan;
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use crate::draft::{CHANGES_MAX, Draft};
use crate::enforcer::Stance;
use crate::facts::{self, Facts};
use crate::lifecycle;
use crate::orchestrator::{self, Need, Needs, Seed};
use crate::scheduler::{Room, Scheduler};
use crate::scope::Scope;
use crate::survey::{self, Survey};

/// When to look again for what has less right to run, after a round that looked at much.
const LATER: Duration = Duration::from_secs(1);

/// Decides what has to change. An empty plan means that all is as it should be, or that the
/// cluster waits for nodes, for the times in `later`, or for something to fit. At such a time the
/// caller asks again about that service.
///
/// A change may be refused when its object changed meanwhile; the next round decides it again.
pub fn reconcile(view: &View, scope: &Scope, now: Timestamp, ids: &mut dyn IdSource) -> Plan {
    let mut draft = Draft::default();
    let survey = Survey::new(view, scope);
    let former = facts::former(view, survey.services.iter().copied());
    let Scope { led_since, still, .. } = *scope;
    let facts = Facts { view, now, led_since, still, former: &former };
    for task in &survey.strays {
        survey::note_wake(facts, task, &mut draft);
        lifecycle::bury(facts, task, &mut draft);
    }
    let mut needs = Needs::default();
    for service in survey.services {
        if draft.is_full() || needs.new.len() >= CHANGES_MAX {
            draft.leave(service.id);
            continue;
        }
        let tasks: Vec<&Task> = view.tasks_of(service.id).map(AsRef::as_ref).collect();
        for task in &tasks {
            survey::note_wake(facts, task, &mut draft);
        }
        orchestrator::plan_service(facts, service, &tasks, &mut needs, &mut draft);
    }
    let mut demand: BTreeMap<ServiceId, usize> = BTreeMap::new();
    let waiting = needs.waiting.iter().map(|(_, need)| need);
    for need in waiting.chain(needs.new.iter().map(|(_, need)| need)) {
        *demand.entry(need.service.id).or_default() += 1;
    }
    // What ends for them ends for nobody any more.
    let gone = view.making_room.iter().map(|(by, _)| *by).filter(|by| draft.removes(*by)).collect();
    let scheduler = Scheduler::new(facts, demand, gone);
    let mut round = Placing { scheduler, draft, started: BTreeSet::new() };
    round.place(needs, ids);
    round.draft.into_plan()
}

/// The second half of a round.
struct Placing<'a> {
    scheduler: Scheduler<'a>,
    draft: Draft,
    /// Services of which a task got its place in this round.
    started: BTreeSet<ServiceId>,
}

/// What comes first.
fn importance(service: &Service) -> impl Ord + use<> {
    Reverse(service.spec.priority)
}

impl<'a> Placing<'a> {
    /// Places what is needed, by importance; of equals the oldest waiting task first, then those
    /// that were displaced (they would take the room that others make, who then made more), then
    /// new tasks; reasons come last. Who follows a task for which room is made comes before those
    /// that were displaced, for the same reason.
    fn place(&mut self, needs: Needs<'a>, ids: &mut dyn IdSource) {
        let Needs { mut waiting, new } = needs;
        waiting.sort_by_key(|(task, need)| {
            (importance(need.service), task.restart.displaced, task.meta.created_at, task.id)
        });
        let mut new: Vec<_> =
            new.into_iter().map(|(seed, need)| (self.forerunner(&need), seed, need)).collect();
        new.sort_by_key(|(before, _, need)| {
            (need.voluntary, importance(need.service), before.is_none())
        });
        let (mut waiting, mut new) = (waiting.into_iter().peekable(), new.into_iter().peekable());
        let mut unplaced = Vec::new();
        loop {
            let first = match (waiting.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((task, waits)), Some((before, _, comes))) => {
                    let last = task.restart.displaced && before.is_some();
                    let order = importance(waits.service).cmp(&importance(comes.service));
                    comes.voluntary || order.is_lt() || order.is_eq() && !last
                }
            };
            if first {
                let Some((task, need)) = waiting.next() else { break };
                if !self.place_waiting(task, &need) {
                    unplaced.push((task, need));
                }
            } else {
                let Some((before, seed, need)) = new.next() else { break };
                self.place_new(before, seed, &need, ids);
            }
        }
        for (task, need) in unplaced {
            let reason = self.scheduler.refusal(task, need.service, &need.wish);
            let now = self.scheduler.now();
            orchestrator::say_why_waiting(task, &reason, now, &mut self.draft);
        }
    }

    /// Whether `task` found a place.
    fn place_waiting(&mut self, task: &'a Task, need: &Need<'a>) -> bool {
        match self.scheduler.place_waiting(task, need.service, &need.wish) {
            Ok(node) => {
                self.started.insert(need.service.id);
                self.draft.assign(task, node);
                true
            }
            Err(_reason) => {
                if !self.yield_place(need) {
                    self.preempt(task, need);
                }
                false
            }
        }
    }

    /// The task that waited in the slot of `need`, for which room is made, and that the plan forgets.
    fn forerunner(&self, need: &Need<'a>) -> Option<&'a Task> {
        let view = self.scheduler.facts().view;
        if view.making_room.is_empty() {
            return None;
        }
        let mut tasks = view.tasks_in(need.service.id, need.slot).map(AsRef::as_ref);
        tasks.find(|task: &&Task| {
            self.draft.removes(task.id) && view.makers_of_room(task.id).next().is_some()
        })
    }

    /// Makes the task of `need`, placed if there is room; `before` is its [`Self::forerunner`].
    fn place_new(
        &mut self,
        before: Option<&Task>,
        mut seed: Seed,
        need: &Need<'a>,
        ids: &mut dyn IdSource,
    ) {
        if need.voluntary && !need.seated && self.started.contains(&need.service.id) {
            return;
        }
        if self.draft.is_full() {
            self.draft.leave(need.service.id);
            return;
        }
        let placed = self.scheduler.place(need.service, &need.wish);
        if placed.is_err() && need.old.is_some_and(|old| old.moves_to().is_some()) {
            return;
        }
        let now = self.scheduler.now();
        if placed.is_err() {
            // More important ones had their turn before: what it replaces may have made room for them.
            let view = self.scheduler.facts().view;
            let mut tasks = view.tasks_in(need.service.id, need.slot);
            seed.record.displaced |= tasks.any(|task| self.draft.preempts(task.id));
        }
        let task = seed.into_task(need, placed.as_ref(), now, ids);
        if let Some(until) = task.not_before {
            self.draft.wake(need.service.id, until);
        }
        self.draft.create(task);
        for ended in &need.replaced {
            self.draft.stop(ended);
        }
        if placed.is_ok() {
            self.started.insert(need.service.id);
        } else if !self.yield_place(need)
            && let Some(before) = before
        {
            let draft = &self.draft;
            self.scheduler.pass_on(before, need.service, &|task| draft.fate(task));
        }
    }

    /// Ends the task that the needed one replaces, though its replacement has no place yet, where
    /// that helps or must be; whether it does.
    fn yield_place(&mut self, need: &Need<'a>) -> bool {
        let old = need.old.filter(|old| old.yields(need.service, &self.scheduler));
        let Some(old) = old else { return false };
        match old.stance {
            Stance::Outdated => {
                let facts = self.scheduler.facts();
                return self.draft.give_way_within(facts, need.service, old.task, &[]);
            }
            Stance::Good
            | Stance::Drained { .. }
            | Stance::Forbidden
            | Stance::Evicted { .. }
            | Stance::Lost
            | Stance::Held => self.draft.stop(old.task),
        }
        true
    }

    /// Ends less important tasks so that `task` fits, if that helps.
    fn preempt(&mut self, task: &'a Task, need: &Need<'a>) {
        let draft = &self.draft;
        let fate = |task: &Task| draft.fate(task);
        let left = draft.changes_left();
        match self.scheduler.make_room(task, need.service, &need.wish, &fate) {
            Room::None => {}
            Room::Later => {
                let now = self.scheduler.now();
                self.draft.wake(need.service.id, now.after(LATER));
            }
            // Half of them would help nobody.
            Room::Made(victims) if victims.len() > left => self.draft.leave(need.service.id),
            Room::Made(victims) => {
                victims.into_iter().for_each(|victim| self.draft.preempt(victim, task.id));
            }
        }
    }
}
