//! A forecast in words that people use: what starts, is replaced, moves, waits, stops or is displaced.
//!
//! Reads a trace and the two ends of it; knows nothing of how it came about.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::service::Service;
use swarm_model::task::{Eviction, Slot, Task};
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::update::{UpdateKind, UpdateState};
use swarm_model::view::View;

use super::trace::{Course, Moment, Trace};
use super::{Forecast, STEPS_MAX};
use crate::schedule::Schedule;

/// A node and what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Place {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Its host name.
    pub hostname: String,
}

/// What happens in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A task ends to make room for a more important one.
    Preempt,
    /// A task ends and none follows. One of a job that ends well is no step: it counts for its run.
    Stop,
    /// A task starts.
    Start,
    /// A task of another version takes the place of one that runs.
    Replace,
    /// A task takes the place of one on another node.
    Move,
    /// A task has no place.
    Wait,
}

/// One step of a forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Step {
    /// When, after the change.
    pub after_ms: u64,
    /// In which batch of its service's update, from 1 on; 0 when it is no part of one.
    pub batch: u32,
    /// What.
    pub kind: StepKind,
    /// The service.
    #[serde(rename = "ServiceID")]
    pub service: ServiceId,
    /// Service and slot, as lists show them.
    pub name: String,
    /// The slot.
    pub slot: Slot,
    /// The task that ends by it, if one does that is there now.
    #[serde(rename = "TaskID")]
    pub task: Option<TaskId>,
    /// Where the slot's task is before.
    pub from: Option<Place>,
    /// Where it is then.
    pub to: Option<Place>,
    /// Why it waits, or for whom it goes; empty when that is plain.
    pub reason: String,
}

/// What becomes of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceForecast {
    /// The service.
    #[serde(rename = "ID")]
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Whether the change names it.
    pub named: bool,
    /// How often each thing happens.
    pub steps: BTreeMap<StepKind, u64>,
    /// Tasks that stay as they are.
    pub unchanged: u64,
    /// Tasks without a place at the end.
    pub waiting: u64,
    /// How its update ends, as `UpdateStatus` has it; empty when nothing becomes of one.
    pub update: String,
    /// What is to be said of that.
    pub reason: String,
    /// Whether the update turns back by itself.
    pub turns_back: bool,
    /// The run of a job that begins with the change.
    pub run: Option<RunForecast>,
    /// When a job with a schedule, which the change names, is due first.
    pub next_run_at: Option<Timestamp>,
}

/// What becomes of a job's run, whose programs are taken to end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunForecast {
    /// Its number.
    pub number: u64,
    /// How it stands at the end, in the word that lists show.
    pub state: String,
    /// Why; empty when there is nothing to say.
    pub reason: String,
    /// So many slots have to succeed.
    pub completions: u32,
    /// So many do.
    pub succeeded: u32,
}

/// Tells the story of `trace`, which ended in `after`.
pub(super) fn tell(trace: &Trace, after: &View, finished: bool) -> Forecast {
    let teller = Teller { trace, after };
    let mut slots: BTreeMap<(ServiceId, Slot), Vec<&Course>> = BTreeMap::new();
    for course in trace.courses.values() {
        slots.entry((course.task.service, course.task.slot)).or_default().push(course);
    }
    let mut told = Vec::new();
    let mut services = trace.subjects.clone();
    for ((service, _), mut courses) in slots {
        courses.sort_by_key(|course| (course.born, course.task.id));
        let steps = teller.slot(&courses);
        services.extend((!steps.is_empty()).then_some(service));
        told.extend(steps);
    }
    let waiting = teller.waiting(&services);
    told.extend(waiting.map(|task| teller.waits(task)));
    told.sort_by_key(|(moment, step)| (*moment, step.service, step.slot, step.kind));
    number_batches(&mut told);
    let last = told.iter().map(|(_, step)| step.after_ms).max();
    let mut steps: Vec<_> = told.into_iter().map(|(_, step)| step).collect();
    let services = services.into_iter().filter_map(|id| teller.service(id, &steps)).collect();
    let left_out = steps.len().saturating_sub(STEPS_MAX);
    steps.truncate(STEPS_MAX);
    Forecast {
        revision: trace.before.revision,
        finished,
        lasts_ms: last.unwrap_or_default(),
        services,
        steps,
        left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
    }
}

/// What was made for one service in one round of an update is a batch.
fn number_batches(told: &mut [(Moment, Step)]) {
    let mut batches: BTreeMap<ServiceId, (Option<Moment>, u32)> = BTreeMap::new();
    for (moment, step) in told.iter_mut().filter(|(_, step)| step.kind == StepKind::Replace) {
        let (last, count) = batches.entry(step.service).or_default();
        if *last != Some(*moment) {
            (*last, *count) = (Some(*moment), *count + 1);
        }
        step.batch = *count;
    }
}

struct Teller<'a> {
    trace: &'a Trace,
    after: &'a View,
}

impl<'a> Teller<'a> {
    /// What happens in one slot, of which `courses` are the tasks that were touched, new ones last.
    fn slot(&self, courses: &[&'a Course]) -> Vec<(Moment, Step)> {
        let first = courses.first().map(|course| &course.task);
        let mut before = first.and_then(|task| self.served(task));
        let mut told = Vec::new();
        let is_placed = |course: &&&Course| course.placed.is_some();
        for (at, course) in courses.iter().enumerate() {
            if let Some(moment) = course.placed {
                told.push((moment, self.comes(&course.task, before)));
                before = Some(&course.task);
            }
            let Some(ended) = course.ended.filter(|_| course.task.node.is_some()) else { continue };
            let preempted = match course.task.eviction {
                Some(Eviction::Preempted { by }) => Some(self.name_of(by)),
                Some(Eviction::Rebalanced { .. }) | None => None,
            };
            let followed = courses[at + 1..].iter().any(|next| is_placed(&next));
            if let Some(by) = preempted {
                let reason = format!("makes room for {by}");
                told.push((ended, self.goes(&course.task, StepKind::Preempt, reason)));
            } else if !followed && course.task.status.state != ObservedState::Complete {
                told.push((ended, self.goes(&course.task, StepKind::Stop, String::new())));
            }
        }
        told
    }

    /// The task that served the slot of `task` before the change.
    fn served(&self, task: &Task) -> Option<&'a Task> {
        let tasks = self.trace.before.tasks_in(task.service, task.slot).map(AsRef::as_ref);
        let active = tasks.filter(|task| task.is_active() && task.node.is_some());
        active.max_by_key(|task| (task.status.state, task.meta.version, task.id))
    }

    fn comes(&self, task: &Task, before: Option<&Task>) -> Step {
        let kind = match before {
            Some(old) if old.template_version != task.template_version => StepKind::Replace,
            Some(old) if old.node != task.node => StepKind::Move,
            Some(_) | None => StepKind::Start,
        };
        let moment = self.trace.courses.get(&task.id).and_then(|course| course.placed);
        Step {
            task: before.map(|old| old.id).filter(|id| self.trace.before.tasks.contains_key(id)),
            from: before.and_then(|old| self.place(old.node)),
            to: self.place(task.node),
            ..self.step(task, kind, moment, String::new())
        }
    }

    fn goes(&self, task: &Task, kind: StepKind, reason: String) -> Step {
        let moment = self.trace.courses.get(&task.id).and_then(|course| course.ended);
        Step {
            task: Some(task.id).filter(|id| self.trace.before.tasks.contains_key(id)),
            from: self.place(task.node),
            ..self.step(task, kind, moment, reason)
        }
    }

    /// Tasks of `services` that wait at the end, and new ones that waited until they were given up.
    fn waiting(&self, services: &BTreeSet<ServiceId>) -> impl Iterator<Item = &'a Task> + use<'a> {
        let waits = self.after.waiting.iter().filter_map(|id| self.after.tasks.get(id));
        let services = services.clone();
        let courses = self.trace.courses.values();
        let given_up = courses.filter(|course| course.born.is_some() && course.ended.is_some());
        let given_up = given_up.map(|course| course.task.as_ref());
        let all = waits.map(AsRef::as_ref).chain(given_up.filter(|task| task.node.is_none()));
        all.filter(move |task| services.contains(&task.service))
    }

    fn waits(&self, task: &Task) -> (Moment, Step) {
        let began = Moment { at: self.trace.began, round: 0 };
        let born = self.trace.courses.get(&task.id).and_then(|course| course.born);
        let moment = born.unwrap_or(began);
        let reason = task.status.error.clone();
        (moment, self.step(task, StepKind::Wait, Some(moment), reason))
    }

    fn step(&self, task: &Task, kind: StepKind, at: Option<Moment>, reason: String) -> Step {
        let after = at.map(|moment| moment.at.since(self.trace.began)).unwrap_or_default();
        Step {
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            batch: 0,
            kind,
            service: task.service,
            name: self.name(task),
            slot: task.slot,
            task: None,
            from: None,
            to: None,
            reason,
        }
    }

    fn service(&self, id: ServiceId, steps: &[Step]) -> Option<ServiceForecast> {
        let before = self.trace.before.services.get(&id);
        let after = self.after.services.get(&id);
        let name = after.or(before)?.spec.name.to_string();
        let mut counts: BTreeMap<StepKind, u64> = BTreeMap::new();
        let own = steps.iter().filter(|step| step.service == id);
        own.for_each(|step| *counts.entry(step.kind).or_default() += 1);
        let stays = |task: &&std::sync::Arc<Task>| {
            let now = self.after.tasks.get(&task.id);
            task.is_active() && task.node.is_some() && now.is_some_and(|now| now.is_active())
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let waits = self.after.tasks_of(id).filter(|task| self.after.waiting.contains(&task.id));
        fn update(service: Option<&std::sync::Arc<Service>>) -> Option<&UpdateState> {
            service.and_then(|service| service.update.as_ref())
        }
        let ends = update(after).filter(|ends| update(before) != Some(ends));
        let kind = |update: Option<&UpdateState>| update.map(|update| update.kind);
        let asked = kind(update(self.trace.asked.services.get(&id)));
        Some(ServiceForecast {
            id,
            name,
            named: self.trace.subjects.contains(&id),
            steps: counts,
            unchanged: count(self.trace.before.tasks_of(id).filter(stays).count()),
            waiting: count(waits.count()),
            update: ends.map(|ends| ends.word().to_owned()).unwrap_or_default(),
            reason: ends.map(|ends| ends.reason.clone()).unwrap_or_default(),
            turns_back: asked == Some(UpdateKind::Update)
                && kind(ends) == Some(UpdateKind::Rollback),
            run: self.run(id),
            next_run_at: self.next_run_at(id),
        })
    }

    /// The run of job `id` that begins with the change.
    fn run(&self, id: ServiceId) -> Option<RunForecast> {
        let run = self.after.newest_run(id)?;
        let begins = !self.trace.before.runs.contains_key(&(id, run.number));
        begins.then(|| RunForecast {
            number: run.number,
            state: run.phase.word().to_owned(),
            reason: run.phase.reason().to_owned(),
            completions: run.completions,
            succeeded: run.succeeded.count(),
        })
    }

    /// When job `id`, which the change names, is due first by its schedule.
    fn next_run_at(&self, id: ServiceId) -> Option<Timestamp> {
        let service = self.after.services.get(&id).filter(|_| self.trace.subjects.contains(&id))?;
        let (spec, state) = (service.spec.schedule.as_ref()?, service.schedule?);
        Schedule::new(spec).ok()?.next(state.cursor.max(self.trace.began))
    }

    fn place(&self, node: Option<NodeId>) -> Option<Place> {
        let id = node?;
        let known = self.after.nodes.get(&id).or_else(|| self.trace.before.nodes.get(&id));
        let hostname = known.map(|node| node.description.hostname.clone()).unwrap_or_default();
        Some(Place { id, hostname })
    }

    fn name(&self, task: &Task) -> String {
        let services = [&self.after.services, &self.trace.before.services];
        let service = services.iter().find_map(|services| services.get(&task.service));
        let service = service.map_or("?", |service| service.spec.name.as_str());
        match task.slot {
            Slot::Replica(_) | Slot::Job { .. } => format!("{service}.{}", task.slot),
            Slot::Node(node) => format!("{service}.{}", self.host(node)),
            Slot::JobNode { run, node } => format!("{service}.run{run}.{}", self.host(node)),
        }
    }

    /// What people call `node`.
    fn host(&self, node: NodeId) -> String {
        let hostname = self.place(Some(node)).map(|place| place.hostname);
        hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| node.short().to_string())
    }

    fn name_of(&self, id: TaskId) -> String {
        let known = self.trace.courses.get(&id).map(|course| &course.task);
        let task = known.or_else(|| self.trace.before.tasks.get(&id));
        task.map_or_else(|| "a more important task".to_owned(), |task| self.name(task))
    }
}

impl Forecast {
    /// Whether everything that is wanted runs at the end, no update ended before its time, and the runs
    /// that begin are complete. Where the end is not known nothing is well.
    pub fn is_well(&self) -> bool {
        let is_well = |service: &ServiceForecast| {
            let ends = ["", "completed", "canary", "rollback_completed"]
                .contains(&service.update.as_str());
            let done = service.run.as_ref().is_none_or(|run| run.state == "complete");
            service.waiting == 0 && (ends || !service.named) && !service.turns_back && done
        };
        self.finished && self.services.iter().all(is_well)
    }
}
