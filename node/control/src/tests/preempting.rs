//! Tasks of higher priority take the place of others when nothing else fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use swarm_model::command::Op;
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::node::{Availability, Node, Reachability};
use swarm_model::plan::{Change, Plan};
use swarm_model::resources::Resources;
use swarm_model::service::{Priority, ServiceSpec};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::view::View;

use crate::explain;
use crate::testing::{Chance, Cluster, OFFERED_MEMORY, offer, spec, template, times};

/// A service of `replicas` tasks that reserve `quarters` of a node's memory.
fn service(name: &str, priority: u8, replicas: u32, quarters: u64) -> ServiceSpec {
    let mut template = template("ok");
    template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4 * quarters;
    let mut spec = spec(name, Some(replicas), template);
    spec.priority = Priority(priority);
    spec
}

#[test]
fn an_important_task_ends_less_important_ones_when_nothing_else_fits() {
    let mut cluster = Cluster::new(2);
    let batch = cluster.create(service("batch", 10, 6, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    let told = explain(cluster.view(), web, cluster.now).expect("it exists");
    assert!(told.refusal.contains("insufficient memory"), "{}", told.refusal);
    assert!(told.preemption.ends_with("would end"), "{}", told.preemption);
    cluster.round();
    assert_eq!(cluster.active(web)[0].node, None, "first it waits");
    let plan = cluster.round();
    let ended = plan.changes.iter().filter(|change| matches!(change, Change::Preempt { .. }));
    assert_eq!(ended.count(), 1, "there is a quarter free on each node: {plan:#?}");
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 1);
    assert_eq!(cluster.running(batch).len(), 6, "there is room for it on the other node");
    cluster.scale(web, 2);
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(batch).len()), (2, 4));
    let told = explain(cluster.view(), batch, cluster.now).expect("it exists");
    assert_eq!(told.waiting.len(), 2);
    assert!(told.waiting.iter().all(|it| it.reason.contains("; its place went to web.")));
    let waiting = cluster.active(batch).into_iter().filter(|task| task.node.is_none());
    for task in waiting {
        assert!(task.restart.displaced && !task.status.error.is_empty(), "{task:#?}");
    }
}

#[test]
fn equals_and_more_important_tasks_are_left_alone() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("first", 50, 2, 1));
    cluster.create(service("vital", 90, 2, 1));
    cluster.settle();
    let late = cluster.create(service("late", 50, 1, 1));
    cluster.settle();
    assert_eq!(cluster.running(late).len(), 0);
    assert!(explain(cluster.view(), late, cluster.now).is_some_and(|it| it.preemption.is_empty()));
}

#[test]
fn no_more_tasks_end_than_needed_and_the_least_important_ones() {
    let mut cluster = Cluster::new(1);
    let small = cluster.create(service("small", 10, 1, 1));
    let medium = cluster.create(service("medium", 20, 1, 1));
    let large = cluster.create(service("large", 30, 1, 2));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 1);
    let left = [small, medium, large].map(|service| cluster.running(service).len());
    assert_eq!(left, [0, 0, 1], "two of low priority rather than one of higher");
}

#[test]
fn what_was_ended_ends_nothing_in_turn() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("low", 10, 2, 1));
    let mid = cluster.create(service("mid", 50, 2, 1));
    cluster.settle();
    // Takes the whole node but for a quarter: both of low and one of mid have to go.
    let top = cluster.create(service("top", 90, 1, 3));
    cluster.settle();
    assert_eq!((cluster.running(top).len(), cluster.running(mid).len()), (1, 1));
    cluster.apply(Op::RemoveService { id: top }).expect("it is known");
    cluster.settle();
    assert_eq!(cluster.running(mid).len(), 2);
}

#[test]
fn room_that_is_made_for_one_is_not_taken_by_another() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("batch", 10, 4, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.round();
    cluster.round();
    let view = cluster.view();
    assert_eq!(view.making_room.len(), 2);
    // One of the two has ended; another service would fit into its place.
    let (_, first) = view.making_room.iter().next().copied().expect("two");
    cluster.report(first, swarm_model::task_state::ObservedState::Shutdown);
    let other = cluster.create(service("other", 70, 1, 1));
    cluster.round();
    assert_eq!(cluster.active(other)[0].node, None);
    cluster.now = cluster.now.after(std::time::Duration::from_secs(6));
    cluster.round();
    let waits = cluster.active(web)[0].status.error.clone();
    assert!(waits.contains("lower priority to end on n0"), "{waits}");
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(other).len()), (1, 1));
}

#[test]
fn a_task_that_finds_another_place_gives_back_the_room_that_was_made() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("batch", 10, 4, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.round();
    cluster.round();
    let node = cluster.add_node();
    cluster.round();
    assert_eq!(cluster.active(web)[0].node, Some(node));
    cluster.settle();
    assert_eq!(cluster.view().tasks.values().filter(|task| task.is_active()).count(), 5);
}

#[test]
fn room_on_a_node_that_is_lost_is_made_anew_elsewhere() {
    let mut cluster = Cluster::new(2);
    cluster.create(service("batch", 10, 8, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.round();
    cluster.round();
    let view = cluster.view();
    let on = |view: &View| -> BTreeSet<NodeId> {
        view.making_room.iter().filter_map(|(_, victim)| view.tasks[victim].node).collect()
    };
    let first = on(view).into_iter().next().expect("room is being made");
    cluster.reach(first, Reachability::Down);
    cluster.round();
    assert_eq!(on(cluster.view()).len(), 2, "the lost node's tasks end when they can");
    cluster.settle();
    assert!(cluster.running(web).iter().all(|task| task.node != Some(first)));
    assert_eq!(cluster.running(web).len(), 1);
    cluster.reach(first, Reachability::Ready);
    cluster.settle();
    assert!(cluster.view().making_room.is_empty());
    let active = cluster.view().tasks.values().filter(|task| task.is_active());
    assert_eq!(active.filter(|task| task.node.is_none()).count(), 2, "two quarters too few");
}

#[test]
fn a_displaced_task_that_found_a_place_may_end_others_once_it_loses_that() {
    let mut cluster = Cluster::new(1);
    let mid = cluster.create(service("mid", 50, 1, 2));
    cluster.settle();
    let top = cluster.create(service("top", 90, 1, 4));
    cluster.settle();
    assert_eq!((cluster.running(top).len(), cluster.running(mid).len()), (1, 0));
    let second = cluster.add_node();
    cluster.settle();
    assert_eq!(cluster.running_on(mid, second), 1);
    let third = cluster.add_node();
    let low = cluster.create(service("low", 10, 6, 1));
    cluster.settle();
    assert_eq!(cluster.running(low).len(), 6, "all is full");
    cluster.reach(second, Reachability::Down);
    cluster.settle();
    assert_eq!(cluster.running_on(mid, third), 1);
}

/// The random history of a crowded cluster.
struct Crowd {
    cluster: Cluster,
    created: usize,
    /// Slots whose task was ended to make room and which had no place since.
    displaced: BTreeSet<(ServiceId, Slot)>,
}

impl Crowd {
    fn step(&mut self, chance: &mut Chance) {
        let services: Vec<ServiceId> = self.cluster.view().services.keys().copied().collect();
        let any = |chance: &mut Chance| {
            let at = usize::try_from(chance.below(services.len().max(1) as u64)).expect("small");
            services.get(at).copied()
        };
        let few = |chance: &mut Chance, most| u32::try_from(chance.below(most)).expect("small");
        match chance.below(20) {
            0..3 if services.len() < 6 => {
                self.created += 1;
                let priority = u8::try_from(chance.below(5) * 20).expect("small");
                let name = format!("s{}", self.created);
                let mut spec = service(&name, priority, few(chance, 5), 1 + chance.below(4));
                if chance.one_in(3) {
                    let generic = &mut spec.task_template.resources.reservations.generic;
                    generic.insert("device/camera".to_owned(), 1);
                }
                if chance.one_in(4) {
                    let rule = "node.labels.zone==z0".parse().ok();
                    spec.task_template.placement.constraints.extend(rule);
                }
                self.cluster.create(spec);
            }
            3 | 4 => {
                if let Some(id) = any(chance) {
                    self.cluster.scale(id, few(chance, 7));
                    self.displaced.retain(|(service, _)| *service != id);
                }
            }
            5 => {
                if let Some(id) = any(chance) {
                    let _twice = self.cluster.apply(Op::RemoveService { id });
                }
            }
            6 => {
                let nodes = self.cluster.nodes.clone();
                let at = usize::try_from(chance.below(nodes.len() as u64)).expect("small");
                let pause = chance.one_in(3);
                self.cluster.update_node(nodes[at], |spec| {
                    spec.availability =
                        if pause { Availability::Pause } else { Availability::Active };
                });
            }
            7 | 8 => drop(self.cluster.agents_where(&|task| task.is_active())),
            10 | 11 => self.one_ends(chance),
            12..15 => {
                if let Some(id) = any(chance) {
                    self.update(id);
                }
            }
            9 => {
                let nodes = self.cluster.nodes.clone();
                let at = usize::try_from(chance.below(nodes.len() as u64)).expect("small");
                let reach = if chance.one_in(3) { Reachability::Down } else { Reachability::Ready };
                self.cluster.reach(nodes[at], reach);
            }
            _round => self.round(),
        }
    }

    /// One of the tasks that were asked to end does.
    fn one_ends(&mut self, chance: &mut Chance) {
        let view = self.cluster.view();
        let ending = view.tasks.values().filter(|task| task.holds_node() && !task.is_active());
        let ending: Vec<TaskId> = ending.map(|task| task.id).collect();
        if !ending.is_empty() {
            let at = usize::try_from(chance.below(ending.len() as u64)).expect("small");
            self.cluster.agents_where(&|task| task.id == ending[at]);
        }
    }

    /// A new template; what waits for a place starts clean.
    fn update(&mut self, id: ServiceId) {
        for task in self.cluster.active(id).into_iter().filter(|task| task.node.is_none()) {
            self.displaced.remove(&(id, task.slot));
        }
        self.cluster.update(id, |spec| spec.task_template.force_update += 1);
    }

    /// What was ended to make room ends nothing itself before it had a place.
    fn check_cascades(&mut self, before: &View, plan: &Plan) {
        let slot = |task: &TaskId| (before.tasks[task].service, before.tasks[task].slot);
        for change in &plan.changes {
            match change {
                Change::Preempt { task, by, .. } => {
                    assert!(!self.displaced.contains(&slot(by)), "{change:?}: a cascade");
                    self.displaced.insert(slot(task));
                }
                Change::Assign { task, .. } => drop(self.displaced.remove(&slot(task))),
                Change::CreateTask(new) if new.node.is_some() => {
                    self.displaced.remove(&(new.service, new.slot));
                }
                _other => {}
            }
        }
    }

    fn round(&mut self) {
        let before = self.cluster.view().clone();
        let plan = self.cluster.round();
        check_victims(&before, &plan);
        check_needed(&before, self.cluster.view(), &plan);
        self.check_cascades(&before, &plan);
        check_held(&before, self.cluster.view());
    }
}

fn priority(view: &View, task: TaskId) -> Priority {
    view.services[&view.tasks[&task].service].spec.priority
}

/// What is free of the whole `node`, by those who hold it.
fn free(view: &View, node: NodeId) -> Resources {
    let mut free = offer();
    for task in view.tasks.values().filter(|task| task.node == Some(node) && task.holds_node()) {
        free.subtract(&task.template.resources.reservations);
    }
    free
}

/// Strictly less important, on one node, no more than needed, and not for one that was ended itself.
fn check_victims(view: &View, plan: &Plan) {
    let mut victims: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
    // Nodes of which others take room at the same time.
    let mut shared: Vec<NodeId> = Vec::new();
    let kept = view.making_room.iter().filter_map(|(_, victim)| view.tasks[victim].node);
    shared.extend(kept);
    // What ends anyway, by this plan too, is waited for by somebody.
    let ending = view.tasks.values().filter(|task| task.holds_node() && !task.is_active());
    shared.extend(ending.filter_map(|task| task.node));
    for change in &plan.changes {
        match change {
            Change::Preempt { task, by, .. } => {
                assert!(priority(view, *task) < priority(view, *by), "{change:?}");
                victims.entry(*by).or_default().insert(*task);
            }
            Change::Assign { node, .. } => shared.push(*node),
            Change::CreateTask(new) => shared.extend(new.node),
            Change::SetDesired { task, .. } | Change::Yield { task, .. } => {
                shared.extend(view.tasks[task].node);
            }
            _other => {}
        }
    }
    for (by, victims) in &victims {
        let by = &view.tasks[by];
        assert!(by.node.is_none() && !by.restart.displaced, "{by:#?}");
        let open = |task: &Task| {
            let node = task.node.and_then(|node| view.nodes.get(&node));
            node.is_some_and(|node| node.takes_tasks())
        };
        assert!(!view.makers_of_room(by.id).any(|task| open(task)), "twice: {by:#?}");
        let on: BTreeSet<_> = victims.iter().filter_map(|id| view.tasks[id].node).collect();
        assert_eq!(on.len(), 1, "{victims:?}");
        shared.extend(on);
    }
    let alone = |node: &NodeId| shared.iter().filter(|other| *other == node).count() == 1;
    for (by, victims) in victims {
        let by = &view.tasks[&by];
        let tasks: Vec<&Task> = victims.iter().map(|id| view.tasks[id].as_ref()).collect();
        let Some(node) = tasks[0].node.filter(alone) else { continue };
        let needs = &by.template.resources.reservations;
        for spared in &tasks {
            let mut free = free(view, node);
            for task in tasks.iter().filter(|task| task.id != spared.id) {
                free.add(&task.template.resources.reservations);
            }
            assert!(!free.covers(needs), "{spared:#?} need not end for {by:#?}");
        }
    }
}

/// Nobody makes room who would fit once all has ended that ends anyway, and all others have what
/// they wait for.
fn check_needed(before: &View, after: &View, plan: &Plan) {
    let by = plan.changes.iter().filter_map(|change| match change {
        Change::Preempt { by, .. } => Some(*by),
        _other => None,
    });
    for by in by.collect::<BTreeSet<_>>() {
        let task = &before.tasks[&by];
        let needs = &task.template.resources.reservations;
        let rules = &task.template.placement.constraints;
        let open = |node: &&std::sync::Arc<Node>| {
            node.takes_tasks() && rules.iter().all(|rule| rule.allows(node))
        };
        for node in before.nodes.values().filter(open) {
            let mut comes = offer();
            let stays = |task: &&std::sync::Arc<Task>| {
                let before = before.tasks.get(&task.id);
                task.holds_node() && before.is_none_or(|before| before.is_active())
            };
            let staying = after.tasks_on(node.id).filter(stays);
            let before_it = after.waiting.iter().filter(|other| {
                let first = priority(after, **other) >= priority(after, by);
                **other != by && (first || after.makers_of_room(**other).next().is_some())
            });
            for other in staying.chain(before_it.map(|id| &after.tasks[id])) {
                comes.subtract(&other.template.resources.reservations);
            }
            assert!(!comes.covers(needs), "{task:#?} would fit on {node:#?}");
        }
    }
}

/// What is free of `node` for `task` when all that come before it had their turn: they take what
/// still ends there together with what is free already.
fn left_of(before: &View, after: &View, node: NodeId, task: &Task) -> Resources {
    let now = free(after, node);
    let mut later = now.clone();
    for task in after.tasks_on(node).filter(|task| task.holds_node() && !task.is_active()) {
        later.add(&task.template.resources.reservations);
    }
    let turn = |task: &Task| {
        (Reverse(priority(after, task.id)), task.restart.displaced, task.meta.created_at, task.id)
    };
    let waits = before.waiting.iter().filter(|id| after.waiting.contains(*id));
    let first = waits.map(|id| after.tasks[id].as_ref()).filter(|other| {
        let rules = &other.template.placement.constraints;
        let allowed = rules.iter().all(|rule| rule.allows(&after.nodes[&node]));
        let comes = later.covers(&other.template.resources.reservations);
        turn(other) < turn(task) && !other.restart.displaced && allowed && comes
    });
    let claims: Vec<&Resources> = first.map(|task| &task.template.resources.reservations).collect();
    for claim in claims {
        later.subtract(claim);
    }
    let least = |(kind, count): (&String, &u64)| (kind.clone(), (*count).min(later.generic(kind)));
    Resources {
        generic: now.generic.iter().map(least).collect(),
        ..Resources::new(now.cpu.min(later.cpu), now.memory.min(later.memory))
    }
}

/// Whoever waited for room that is free now has it, unless somebody who comes first does.
fn check_held(before: &View, after: &View) {
    for id in &before.waiting {
        let made = before.tasks.values().filter(|task| {
            task.eviction == Some(swarm_model::task::Eviction::Preempted { by: *id })
        });
        let made: Vec<_> = made.collect();
        let Some(node) = made.first().and_then(|task| task.node) else { continue };
        let all_ended = made.iter().all(|task| task.status.state.is_terminal());
        let task = after.tasks.get(id).filter(|task| task.is_active());
        let open = after.nodes.get(&node).is_some_and(|node| node.takes_tasks());
        // What is free there may be kept for somebody else.
        let kept = |(_, victim): &(TaskId, TaskId)| after.tasks[victim].node == Some(node);
        let open = open && !after.making_room.iter().any(kept);
        if let Some(task) = task
            && all_ended
            && open
            && made.iter().all(|victim| victim.node == Some(node))
        {
            let late = task.node.is_none()
                && left_of(before, after, node, task).covers(&task.template.resources.reservations);
            assert!(!late, "{} {} has room on {node}: {:#?}", task.id, task.status.error, made);
        }
    }
}

proptest! {
    #![proptest_config(times(4))]

    #[test]
    fn priorities_hold_in_any_crowd_and_it_comes_to_rest(seed: u64) {
        let mut chance = Chance(seed);
        let mut crowd = Crowd { cluster: Cluster::new(3), created: 0, displaced: BTreeSet::new() };
        for _ in 0..chance.below(50) {
            crowd.step(&mut chance);
        }
        for node in crowd.cluster.nodes.clone() {
            crowd.cluster.reach(node, Reachability::Ready);
            crowd.cluster.update_node(node, |spec| spec.availability = Availability::Active);
        }
        crowd.cluster.settle();
        let view = crowd.cluster.view();
        prop_assert!(view.making_room.is_empty());
        for id in &view.waiting {
            let task = &view.tasks[id];
            prop_assert!(!task.status.error.is_empty() && task.desired <= DesiredState::Running);
            // A task waits only where all that could go for it is as important as itself.
            if !task.restart.displaced {
                let told = explain(view, task.service, crowd.cluster.now).expect("it exists");
                prop_assert_eq!(told.preemption, "", "{:#?}", task);
            }
        }
    }
}
