//! Replicas: as many as wanted, in the lowest slots; what is not wanted goes.

use std::collections::BTreeSet;

use swarm_model::command::Op;
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;

use crate::testing::{Cluster, spec, template};
use crate::{CHANGES_MAX, Scope, reconcile};

fn slots(cluster: &Cluster, service: swarm_model::id::ServiceId) -> BTreeSet<Slot> {
    cluster.running(service).iter().map(|task| task.slot).collect()
}

#[test]
fn a_service_gets_its_replicas_in_one_round() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(6), template("ok")));
    let plan = cluster.round();
    assert_eq!(plan.changes.len(), 6);
    cluster.settle();
    assert_eq!(slots(&cluster, web), (1..=6).map(Slot::Replica).collect());
    for node in cluster.nodes.clone() {
        assert_eq!(cluster.running_on(web, node), 2);
    }
}

#[test]
fn the_same_view_gives_no_second_plan() {
    let mut cluster = Cluster::new(3);
    cluster.create(spec("web", Some(6), template("ok")));
    cluster.round();
    let again =
        reconcile(&cluster.view().clone(), &Scope::everything(), cluster.now, &mut cluster.ids);
    assert_eq!(again.changes, []);
}

#[test]
fn scaling_down_frees_idle_slots_first_then_the_fullest_nodes() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(4), template("ok")));
    cluster.settle();
    let idle = cluster.active(web)[1].id;
    cluster.scale(web, 5);
    cluster.round();
    // Slot 5 does not run yet, and the task of slot 2 has just failed.
    cluster.report(idle, ObservedState::Failed);
    cluster.scale(web, 3);
    cluster.round();
    cluster.settle();
    assert_eq!(cluster.running(web).len(), 3);
    assert!(!slots(&cluster, web).contains(&Slot::Replica(5)));
    cluster.scale(web, 2);
    cluster.settle();
    for node in cluster.nodes.clone() {
        assert_eq!(cluster.running_on(web, node), 1);
    }
    assert_eq!(cluster.view().tasks_of(web).count(), 2, "freed slots leave nothing behind");
}

#[test]
fn a_slot_that_comes_back_waits_for_its_old_task_to_end() {
    let mut cluster = Cluster::new(1);
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    cluster.scale(web, 1);
    cluster.round();
    cluster.scale(web, 2);
    assert_eq!(cluster.round().changes, []);
    cluster.settle();
    assert_eq!(slots(&cluster, web), [1, 2].map(Slot::Replica).into());
}

#[test]
fn a_removed_service_ends_its_tasks_and_then_itself() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(4), template("ok")));
    cluster.settle();
    cluster.apply(Op::RemoveService { id: web }).expect("it exists");
    cluster.settle();
    assert!(cluster.view().tasks.is_empty());
    assert!(cluster.view().services.is_empty());
}

#[test]
fn a_removed_service_that_never_ran_is_gone_at_once() {
    let mut cluster = Cluster::new(1);
    let node = cluster.nodes[0];
    cluster.drain(node);
    let web = cluster.create(spec("web", Some(4), template("ok")));
    cluster.round();
    cluster.apply(Op::RemoveService { id: web }).expect("it exists");
    cluster.settle();
    assert!(cluster.view().tasks.is_empty() && cluster.view().services.is_empty());
}

#[test]
fn a_large_change_comes_in_bounded_plans() {
    let mut cluster = Cluster::new(3);
    let count = u32::try_from(CHANGES_MAX).expect("it is small") * 2 + 500;
    let web = cluster.create(spec("web", Some(count), template("ok")));
    let plan = cluster.round();
    assert_eq!(plan.changes.len(), CHANGES_MAX);
    assert_eq!(plan.left, [web].into(), "the rest is for the next plan");
    assert_eq!(cluster.round().changes.len(), CHANGES_MAX);
    assert_eq!(cluster.round().changes.len(), 500);
    assert_eq!(cluster.active(web).len(), 2500);
}
