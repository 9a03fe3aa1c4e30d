//! Room that is made for one task is made once: what ends anyway is waited for.

use std::collections::BTreeSet;

use swarm_model::command::Op;
use swarm_model::id::{ServiceId, TaskId};
use swarm_model::plan::{Change, Plan};
use swarm_model::service::{Priority, ServiceSpec};
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;

use crate::explain;
use crate::testing::{Cluster, OFFERED_MEMORY, spec, template};

/// A service of `replicas` tasks that reserve `quarters` of a node's memory.
fn service(name: &str, priority: u8, replicas: u32, quarters: u64) -> ServiceSpec {
    let mut template = template("ok");
    template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4 * quarters;
    let mut spec = spec(name, Some(replicas), template);
    spec.priority = Priority(priority);
    spec
}

/// The tasks that a plan ends to make room.
fn ended(plan: &Plan) -> Vec<TaskId> {
    let ended = plan.changes.iter().filter_map(|change| match change {
        Change::Preempt { task, .. } => Some(*task),
        _other => None,
    });
    ended.collect()
}

/// Settles and counts the tasks of `service` that were ended to make room, ever.
fn displaced(cluster: &mut Cluster, service: ServiceId) -> usize {
    let mut displaced = BTreeSet::new();
    for _ in 0..200 {
        displaced.extend(ended(&cluster.round()));
        cluster.agents_where(&|task| task.is_active());
        displaced.extend(ended(&cluster.round()));
        cluster.agents();
    }
    cluster.settle();
    let of = |id: &&TaskId| {
        let task = cluster.view().tasks.get(*id);
        task.is_none_or(|task| task.service == service)
    };
    displaced.iter().filter(of).count()
}

#[test]
fn a_task_that_takes_the_room_of_its_sister_leaves_her_its_own() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("batch", 10, 4, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 2, 1));
    cluster.round();
    let victims = ended(&cluster.round());
    assert_eq!(victims.len(), 2);
    // She waits longer, or as long and comes first by her id, but for the task that ends later.
    let first = cluster.view().waiting.iter().next().copied().expect("two wait");
    let is_hers = |victim: &&TaskId| {
        cluster.view().tasks[*victim].makes_room_for().is_some_and(|by| by != first)
    };
    let victim = *victims.iter().find(is_hers).expect("one each");
    cluster.report(victim, ObservedState::Shutdown);
    assert_eq!(ended(&cluster.round()), [], "the other one is still ending");
    assert_eq!(ended(&cluster.round()), []);
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 2);
}

#[test]
fn room_whose_task_is_replaced_goes_to_its_successor() {
    let mut cluster = Cluster::new(1);
    let batch = cluster.create(service("batch", 10, 4, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.round();
    assert_eq!(ended(&cluster.round()).len(), 2);
    cluster.update(web, |spec| spec.task_template.force_update += 1);
    for _ in 0..3 {
        assert_eq!(ended(&cluster.round()), [], "two are ending");
    }
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(batch).len()), (1, 2));
}

#[test]
fn what_replaces_a_task_that_the_same_plan_ends_ends_nothing_in_turn() {
    let mut cluster = Cluster::new(2);
    let mid = cluster.create(service("mid", 50, 1, 4));
    cluster.settle();
    let low = cluster.create(service("low", 10, 1, 4));
    cluster.settle();
    let rule = "node.labels.zone==z0".parse().expect("it is a constraint");
    let mut top = service("top", 90, 1, 4);
    top.task_template.placement.constraints.push(rule);
    let zone = |cluster: &mut Cluster, node, zone: &str| {
        let zone = zone.to_owned();
        cluster.update_node(node, |spec| drop(spec.labels.insert("zone".to_owned(), zone)));
    };
    let there = cluster.running(mid)[0].node.expect("it runs");
    for node in cluster.nodes.clone() {
        zone(&mut cluster, node, if node == there { "z0" } else { "z1" });
    }
    cluster.create(top);
    cluster.round();
    cluster.update(mid, |spec| spec.task_template.force_update += 1);
    assert_eq!(ended(&cluster.round()).len(), 1, "that of mid");
    cluster.settle();
    assert_eq!((cluster.running(mid).len(), cluster.running(low).len()), (0, 1));
}

/// Two nodes, on one of which a task ends for `web`, while `vital` waits for a node as well.
fn crowd_of_two() -> (Cluster, ServiceId, ServiceId) {
    let mut cluster = Cluster::new(2);
    cluster.create(service("low", 10, 2, 4));
    cluster.settle();
    let web = cluster.create(service("web", 50, 1, 4));
    cluster.round();
    assert_eq!(ended(&cluster.round()).len(), 1);
    let vital = cluster.create(service("vital", 80, 1, 4));
    assert_eq!(ended(&cluster.round()), [], "it is made, and waits");
    (cluster, web, vital)
}

#[test]
fn room_whose_task_is_forgotten_is_waited_for_in_the_same_plan() {
    let (mut cluster, web, vital) = crowd_of_two();
    cluster.apply(Op::RemoveService { id: web }).expect("it is known");
    for _ in 0..3 {
        assert_eq!(ended(&cluster.round()), [], "one ends for nobody any more");
    }
    cluster.settle();
    assert_eq!(cluster.running(vital).len(), 1);
}

#[test]
fn room_whose_task_is_replaced_is_waited_for_by_whoever_is_more_important() {
    let (mut cluster, web, vital) = crowd_of_two();
    cluster.update(web, |spec| spec.task_template.force_update += 1);
    assert_eq!(ended(&cluster.round()), [], "the successor has its turn after it");
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(vital).len()), (1, 1));
}

#[test]
fn room_whose_task_is_replaced_goes_to_nobody_of_less_importance() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("low", 10, 2, 2));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 4));
    cluster.round();
    let victims = ended(&cluster.round());
    assert_eq!(victims.len(), 2);
    let small = cluster.create(service("small", 20, 1, 2));
    cluster.round();
    cluster.report(victims[0], ObservedState::Shutdown);
    cluster.update(web, |spec| spec.task_template.force_update += 1);
    cluster.round();
    assert_eq!(cluster.active(small)[0].node, None, "what is free is kept");
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(small).len()), (1, 0));
}

/// Half of what ends for a task ended when its template changes: it needs another size now. Whether
/// another task of a quarter, which comes with that, is placed.
fn placed_beside_one_that_changes(ends: [u64; 2], from: u64, to: u64) -> bool {
    let mut cluster = Cluster::new(1);
    for (number, quarters) in ends.into_iter().enumerate() {
        cluster.create(service(&format!("low{number}"), 10, 1, quarters));
        cluster.settle();
    }
    let web = cluster.create(service("web", 80, 1, from));
    cluster.round();
    let victims = ended(&cluster.round());
    let first = victims
        .iter()
        .copied()
        .max_by_key(|id| cluster.view().tasks[id].template.resources.reservations.memory);
    if victims.len() > 1 {
        cluster.report(first.expect("some end"), ObservedState::Shutdown);
    }
    cluster.update(web, |spec| {
        spec.task_template.resources.reservations.memory.0 = OFFERED_MEMORY.0 / 4 * to;
    });
    let small = cluster.create(service("small", 20, 1, 1));
    cluster.round();
    let placed = cluster.active(small)[0].node.is_some();
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 1);
    placed
}

#[test]
fn room_that_is_passed_on_is_as_large_as_its_new_task() {
    assert!(placed_beside_one_that_changes([2, 2], 4, 3), "a quarter is left over");
    assert!(!placed_beside_one_that_changes([2, 2], 4, 4), "nothing is");
    assert!(!placed_beside_one_that_changes([3, 0], 2, 4), "it takes what was free, too");
}

#[test]
fn an_update_of_important_tasks_ends_no_others() {
    for grace_ms in [10_000, 600_000] {
        let mut cluster = Cluster::new(1);
        let low = cluster.create(service("low", 10, 2, 1));
        let mut hi = service("hi", 80, 2, 1);
        hi.task_template.stop_grace_ms = grace_ms;
        hi.task_template.placement.max_replicas_per_node = 2;
        let hi = cluster.create(hi);
        cluster.settle();
        cluster.update(hi, |spec| spec.task_template.force_update += 1);
        assert_eq!(displaced(&mut cluster, low), 0);
        assert_eq!((cluster.running(hi).len(), cluster.running(low).len()), (2, 2));
    }
}

#[test]
fn room_that_comes_free_anyway_is_waited_for() {
    let mut cluster = Cluster::new(1);
    let low = cluster.create(service("low", 10, 2, 1));
    let mid = cluster.create(service("mid", 50, 2, 1));
    cluster.settle();
    cluster.scale(low, 0);
    cluster.round();
    let hi = cluster.create(service("hi", 90, 1, 2));
    cluster.round();
    assert_eq!(ended(&cluster.round()), []);
    cluster.now = cluster.now.after(std::time::Duration::from_secs(6));
    cluster.round();
    let waits = cluster.active(hi)[0].status.error.clone();
    assert!(waits.contains("to end on n0"), "{waits}");
    cluster.settle();
    assert_eq!((cluster.running(hi).len(), cluster.running(mid).len()), (1, 2));
}

#[test]
fn what_the_same_plan_ends_makes_room_as_well() {
    let mut cluster = Cluster::new(1);
    let low = cluster.create(service("low", 10, 2, 1));
    let mid = cluster.create(service("mid", 50, 2, 1));
    cluster.settle();
    let hi = cluster.create(service("hi", 90, 1, 2));
    cluster.round();
    cluster.apply(Op::RemoveService { id: low }).expect("it is known");
    assert_eq!(ended(&cluster.round()), []);
    cluster.settle();
    assert_eq!((cluster.running(hi).len(), cluster.running(mid).len()), (1, 2));
}

#[test]
fn what_takes_long_to_end_is_not_waited_for() {
    let mut cluster = Cluster::new(1);
    let mut slow = service("slow", 10, 2, 1);
    slow.task_template.stop_grace_ms = 3_600_000;
    let slow = cluster.create(slow);
    cluster.create(service("mid", 50, 2, 1));
    cluster.settle();
    cluster.scale(slow, 0);
    cluster.round();
    cluster.create(service("hi", 90, 1, 2));
    cluster.round();
    assert_eq!(ended(&cluster.round()).len(), 2);
}

#[test]
fn what_was_ended_while_it_was_updated_ends_nothing_in_turn() {
    let mut cluster = Cluster::new(2);
    let only = |mut spec: ServiceSpec, zone: &str| {
        let rule = format!("node.labels.zone=={zone}").parse().expect("a rule");
        spec.task_template.placement.constraints.push(rule);
        spec
    };
    let low = cluster.create(only(service("low", 10, 4, 1), "z1"));
    cluster.settle();
    let mid = cluster.create(service("mid", 50, 4, 1));
    cluster.settle();
    // The update waits at its first task, whose place is still taken; the others are outdated.
    cluster.update(mid, |spec| spec.task_template.force_update += 1);
    cluster.round();
    cluster.create(only(service("top", 90, 1, 3), "z0"));
    cluster.round();
    let victims = ended(&cluster.round());
    let task = |id: &TaskId| cluster.view().tasks[id].clone();
    let (of_mid, others): (Vec<_>, Vec<_>) =
        victims.iter().map(task).partition(|task| task.service == mid);
    assert_eq!(of_mid.len(), 2, "a third place comes free by the update");
    assert_eq!(others.len(), 1, "it goes to another one then, whose task is new");
    let slots: Vec<_> = of_mid.iter().map(|task| task.slot).collect();
    let more = displaced(&mut cluster, low);
    assert!(more <= 1, "one whose own place was taken by an older one may: {more}");
    let waits = |task: &&Task| slots.contains(&task.slot) && task.node.is_none();
    for task in cluster.active(mid).into_iter().filter(waits) {
        assert!(task.restart.displaced, "{task:#?}");
    }
}

#[test]
fn an_update_that_meets_an_ending_task_leaves_it_displaced() {
    let mut cluster = Cluster::new(1);
    cluster.create(service("low", 10, 2, 1));
    let mid = cluster.create(service("mid", 50, 2, 1));
    cluster.settle();
    cluster.create(service("top", 90, 1, 3));
    cluster.round();
    assert_eq!(ended(&cluster.round()).len(), 3);
    cluster.update(mid, |spec| spec.task_template.force_update += 1);
    cluster.settle();
    let waiting = cluster.active(mid).into_iter().filter(|task| task.node.is_none());
    let displaced: Vec<_> = waiting.map(|task| task.restart.displaced).collect();
    assert_eq!(displaced, [true]);
}

#[test]
fn a_preemption_of_which_half_was_refused_is_completed_there() {
    let mut cluster = Cluster::new(2);
    let batch = cluster.create(service("batch", 10, 8, 1));
    cluster.settle();
    let web = cluster.create(service("web", 80, 1, 2));
    cluster.round();
    let mut plan = cluster.plan();
    let at = plan.changes.iter().rposition(|change| matches!(change, Change::Preempt { .. }));
    plan.changes.remove(at.expect("two tasks have to end"));
    cluster.carry_out(&plan);
    assert_eq!(ended(&plan).len(), 1);
    let node = cluster.view().tasks[&ended(&plan)[0]].node;
    let more = ended(&cluster.round());
    assert_eq!(more.len(), 1, "the second one is ended at once");
    assert_eq!(cluster.view().tasks[&more[0]].node, node);
    cluster.settle();
    assert_eq!((cluster.running(web).len(), cluster.running(batch).len()), (1, 6));
}

#[test]
fn a_preemption_of_which_half_was_refused_does_not_wait_for_its_turn() {
    for seconds in 0..8 {
        let mut cluster = Cluster::new(1);
        cluster.create(service("vital", 95, 1, 1));
        cluster.create(service("batch", 10, 2, 1));
        for number in 0..40 {
            cluster.create(service(&format!("stuck{number}"), 90, 1, 4));
        }
        cluster.round();
        cluster.agents();
        cluster.create(service("web", 80, 1, 3));
        cluster.round();
        let second = std::time::Duration::from_secs(1);
        let mut plan = cluster.plan();
        while ended(&plan).is_empty() {
            cluster.now = cluster.now.after(second);
            plan = cluster.plan();
        }
        let at = plan.changes.iter().rposition(|change| matches!(change, Change::Preempt { .. }));
        plan.changes.remove(at.expect("two tasks have to end"));
        cluster.carry_out(&plan);
        assert_eq!(ended(&plan).len(), 1);
        cluster.now = cluster.now.after(second * seconds);
        let small = cluster.create(service("small", 20, 1, 1));
        let more = ended(&cluster.round());
        assert_eq!(cluster.active(small)[0].node, None, "what was free is kept");
        assert_eq!(more.len(), 1, "the second one is ended at once");
    }
}

#[test]
fn one_node_does_not_make_room_for_more_tasks_than_it_may_have() {
    let mut cluster = Cluster::new(2);
    let batch = cluster.create(service("batch", 10, 8, 1));
    cluster.settle();
    let mut web = service("web", 80, 3, 1);
    web.task_template.placement.max_replicas_per_node = 1;
    let web = cluster.create(web);
    assert_eq!(displaced(&mut cluster, batch), 2);
    assert_eq!((cluster.running(web).len(), cluster.running(batch).len()), (2, 6));
}

#[test]
fn those_that_nothing_helps_do_not_hold_up_one_that_can_be_helped() {
    let mut cluster = Cluster::new(4);
    cluster.create(service("vital", 95, 4, 1));
    cluster.create(service("batch", 10, 6, 2));
    cluster.settle();
    cluster.create(service("small", 10, 12, 1));
    cluster.settle();
    for number in 0..40 {
        cluster.create(service(&format!("stuck{number}"), 90, 1, 4));
    }
    let hi = cluster.create(service("hi", 80, 1, 1));
    cluster.round();
    for _ in 0..100 {
        if !cluster.running(hi).is_empty() {
            return;
        }
        cluster.round();
        cluster.agents();
        cluster.now = cluster.now.after(std::time::Duration::from_secs(1));
    }
    panic!("it waits for ever");
}

#[test]
fn a_displaced_task_says_that_it_ends_no_others() {
    let mut cluster = Cluster::new(1);
    let mid = cluster.create(service("mid", 50, 1, 2));
    cluster.settle();
    cluster.create(service("top", 90, 1, 4));
    cluster.settle();
    cluster.update(mid, |spec| spec.priority = Priority(95));
    cluster.settle();
    let told = explain(cluster.view(), mid, cluster.now).expect("it exists");
    assert_eq!(told.waiting.len(), 1);
    assert!(told.waiting[0].reason.contains("ends no others"), "{}", told.waiting[0].reason);
    cluster.update(mid, |spec| spec.task_template.force_update += 1);
    cluster.settle();
    assert_eq!(cluster.running(mid).len(), 1, "asked anew, it does");
}
